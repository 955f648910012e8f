"""The Redis or Valkey server that we start ourselves: found, started, watched, stopped."""
