"""A user's own graph, read from files."""
