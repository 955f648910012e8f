"""Experiments, models, champions and decisions: what may change, who changed it, and why."""
