"""The `switchpoint` command: what its commands share."""
