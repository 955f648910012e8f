"""Records and ledger in one Redis: keys, bytes and scripts."""
