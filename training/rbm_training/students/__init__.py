"""Graph-free students."""
