"""Offline side: from a graph and a GNN teacher to a bundle that serves without the graph."""
