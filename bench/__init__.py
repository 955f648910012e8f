"""Benchmarks: one command each, compared with a peer or a floor in the same run; quote the ratios."""
