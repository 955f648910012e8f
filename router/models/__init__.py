"""Load, call and fit models."""
