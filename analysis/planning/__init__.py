"""How many units an experiment needs, and how far it is."""
