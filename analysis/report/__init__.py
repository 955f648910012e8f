"""One frozen report of an experiment, and its renderings."""
