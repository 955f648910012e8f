"""Faults planted one by one: do the tests notice? `python -m tests.mutants [GROUP …]` (`make mutants`)."""
