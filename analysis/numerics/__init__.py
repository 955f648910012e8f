"""Arrays, exact sums, roots and tails; what an estimate is and why there may be none. No experiment."""
