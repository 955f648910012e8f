"""The console: pages and a JSON API over the records and the worker's board; a page computes nothing."""
