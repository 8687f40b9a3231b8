"""Benchmark graphs by name, downloaded once."""
