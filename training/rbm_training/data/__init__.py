"""Graphs: where they come from, how they are checked, split and scaled, and their features as rows."""
