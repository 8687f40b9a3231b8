"""Handwritten digits: the real dataset that ships inside scikit-learn, so a fresh machine has one.

1,797 images of 8×8 grey levels (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
1998), joined into a graph by the cosine between their pixels.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph

from rbm_training.data.edges import undirected
from rbm_training.data.graph import Graph

NUM_NEIGHBORS = 10


def load_digits_graph() -> Graph:
    """Images as nodes, pixels as features (N, 64), edges to each image's ten nearest by cosine."""
    digits = load_digits()
    nearest = kneighbors_graph(digits.data, NUM_NEIGHBORS, metric="cosine")
    num_nodes = len(digits.target)
    return Graph(
        name="digits",
        adjacency=undirected(np.stack(nearest.nonzero()), num_nodes),
        features=digits.data.astype(np.float32),
        labels=digits.target.astype(np.int64),
        node_ids=np.arange(num_nodes),
        class_names=tuple(str(digit) for digit in digits.target_names),
    )
