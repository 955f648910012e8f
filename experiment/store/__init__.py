"""Where the record is kept: memory, spool, journal, artifacts, tables, Redis, embedded server."""
