"""From a list of edges to an adjacency, and an account of what became of each of them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

EDGES_ARE_PLAIN: Final = "edges have no weight and no kind here"
"""Why what a source says of its edges is not read."""


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """What became of the edges of a source: num_given = num_self_loops + num_repeated + num_reversed + the
    undirected edges of the graph.

    `num_repeated` were there before with the same two ends in the same order, `num_reversed` in the other.
    """

    num_given: int
    num_self_loops: int
    num_repeated: int
    num_reversed: int


def undirected(edge_index: npt.NDArray[np.integer], num_nodes: int) -> sp.csr_array:
    """Symmetric 0/1 adjacency (N, N) of edges (2, M): both directions, no repeats, no self-loops."""
    return symmetrised(edge_index, num_nodes)[0]


def symmetrised(edge_index: npt.NDArray[np.integer], num_nodes: int) -> tuple[sp.csr_array, EdgeCounts]:
    """The adjacency that `undirected` gives, and what became of the edges."""
    source, target = edge_index
    apart = source != target
    directed = _zero_one(source[apart], target[apart], num_nodes)
    adjacency = sp.csr_array(directed + directed.T)
    adjacency.sort_indices()
    adjacency.data[:] = 1
    num_apart, num_edges = int(apart.sum()), adjacency.nnz // 2
    counts = EdgeCounts(
        num_given=len(source),
        num_self_loops=len(source) - num_apart,
        num_repeated=num_apart - directed.nnz,
        num_reversed=directed.nnz - num_edges,
    )
    return adjacency, counts


def _zero_one(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer], num_nodes: int
) -> sp.csr_array:
    matrix = sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(num_nodes, num_nodes))
    matrix.sum_duplicates()
    return matrix
