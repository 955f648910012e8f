"""How often a rule errs: A/A checks, operating characteristics, a shop whose truth is known."""
