"""Search for a better experiment, on validation alone."""
