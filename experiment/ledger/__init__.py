"""Events into moments, by pure functions, and what a store of them has to do."""
