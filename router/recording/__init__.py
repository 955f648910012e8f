"""Events into the ledger, or into the spool while the store is away; and what time it is there."""
