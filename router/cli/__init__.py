"""The `switchpoint` command, one module per noun."""
