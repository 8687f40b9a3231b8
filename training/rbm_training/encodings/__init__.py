"""Positional encodings: where a node lies in the graph, as a vector that can be cached."""
