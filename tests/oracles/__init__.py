"""Outside oracles: expected values that established libraries or published tables gave."""
