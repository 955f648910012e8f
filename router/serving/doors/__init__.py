"""What is asked of the service over HTTP, one file for each kind of question."""
