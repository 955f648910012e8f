"""Named methods outside the decision rule, for whoever asks for them."""
