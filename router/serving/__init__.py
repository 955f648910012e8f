"""Snapshot, recorder and HTTP app that serve assignments and predictions."""
