"""What HTTP asks for: connections, request ids, keys, limits, errors and the way to the end."""
