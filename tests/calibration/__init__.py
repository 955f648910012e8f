"""Calibration by simulation: error, coverage and power of every design, with Monte Carlo error."""
