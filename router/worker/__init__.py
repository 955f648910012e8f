"""The worker: judges what changed beside serving, for the console's board, and keeps reports for ever."""
