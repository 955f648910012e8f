"""The record: the nouns of the field, what follows from them alone, and where they are kept."""
