"""What is known of nodes that have no features: how many neighbours each has."""

import numpy as np
import scipy.sparse as sp

from rbm_training.data.graph import Floats


def degree_features(adjacency: sp.csr_array) -> Floats:
    """A one and log(1 + degree) of each node: (N, 2). Rows that are scaled to norm 1 still tell degrees
    apart, which with one column alone they would not."""
    degrees = np.diff(adjacency.indptr)
    return np.stack([np.ones(len(degrees)), np.log1p(degrees)], axis=1).astype(np.float32)
