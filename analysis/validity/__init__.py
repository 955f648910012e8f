"""Checks that decide whether the numbers may be believed at all."""
