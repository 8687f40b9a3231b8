"""Positions of nodes that were not there when the graph was encoded.

Dimension letters: N known nodes, U unseen nodes, P position width.
"""

import numpy as np

from rbm_bundle.nodes import UNKNOWN, mean_of_known_neighbors
from rbm_training.data.graph import Floats, Graph, Integers


def infer_positions(graph: Graph, known: Integers, positions: Floats, unseen: Integers) -> Floats:
    """Positions (U, P) of nodes without one, by the rule the service uses: the mean over their
    known neighbours.

    Args:
        known: nodes of the graph whose positions (N, P) are given.
    """
    rows = np.full(graph.num_nodes, UNKNOWN, np.int64)
    rows[known] = np.arange(len(known))
    means, _ = mean_of_known_neighbors(positions, [rows[graph.neighbors_of(node)] for node in unseen])
    return means
