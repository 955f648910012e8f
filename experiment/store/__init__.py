"""Where the record is kept: protocols, memory, Redis, tables, spool, embedded server."""
