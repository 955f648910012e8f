"""The definition language: YAML and JSON into the types of an experiment, and back."""
