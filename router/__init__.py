"""The service: everything that faces the outside."""
