"""Attacks on the running service; docs/reliability.md says what each does and what is left of it.

The short ones run with every test, those that take minutes are marked `chaos` and run by `make chaos`.
"""
