"""How many units an experiment needs, how many days, and how far it is."""
