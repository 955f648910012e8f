"""What every page and door shares: bodies, problems, metrics."""
