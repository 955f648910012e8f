"""Moments as arrays: the subjects, strata and days of one or thousands of experiments."""
