"""Evidence to readings, through the rule, to a verdict: one path for one experiment and for many."""
