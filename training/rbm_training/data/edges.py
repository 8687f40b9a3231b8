"""From a list of edges to an adjacency."""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp


def undirected(edge_index: npt.NDArray[np.integer], num_nodes: int) -> sp.csr_array:
    """Symmetric 0/1 adjacency (N, N) of edges (2, M): both directions, no repeats, no self-loops."""
    source, target = edge_index
    apart = source != target
    rows = np.concatenate([source[apart], target[apart]])
    columns = np.concatenate([target[apart], source[apart]])
    adjacency = sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(num_nodes, num_nodes))
    adjacency.sum_duplicates()
    adjacency.sort_indices()
    adjacency.data[:] = 1
    return adjacency
