"""Estimates from moments: columnar, pure, no I/O."""
