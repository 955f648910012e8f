"""The demo: a simulated shop driven through the real doors, with its truth known."""
