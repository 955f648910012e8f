"""Checks that decide whether the numbers may be believed at all, each a function of the evidence."""
