"""Graphs that come with the project or are made on the spot."""
