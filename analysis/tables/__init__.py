"""Tables in memory to evidence: how rows are understood, and how they are summed."""
