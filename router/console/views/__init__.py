"""What groups of pages show and do: their contents, what they take, and their operations."""
