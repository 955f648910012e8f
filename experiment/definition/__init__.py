"""The types of an experiment: what is tried, on whom, and what counts, as frozen values."""
