"""Which variant a unit gets: pure functions of a definition and a unit."""
