"""Laplacian eigenvectors (Belkin & Niyogi 2003; Dwivedi et al. 2020): smooth functions on the graph.

Dimension letters: N nodes, P position width.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from rbm_training.config import PositionsConfig
from rbm_training.data.graph import Floats, Graph, GraphError, Integers
from rbm_training.runtime.log import RunLog


def encode_by_eigenvectors(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P) in the largest connected component; nodes outside it, isolated or not, get zeros.

    Raises:
        GraphError: a component with fewer than P + 2 nodes.
    """
    component = _largest_component(graph.adjacency)
    if len(component) < config.width + 2:
        raise GraphError(
            graph.name,
            f"{len(component)} nodes in the largest connected component for positions.width = {config.width}",
            f"a width of at most {len(component) - 2}, or another positions.kind",
        )
    positions = np.zeros((graph.num_nodes, config.width), np.float32)
    with log.stage("positions", 1) as stage:
        adjacency = sp.csr_array(graph.adjacency[component][:, component])
        positions[component] = laplacian_eigenvectors(adjacency, config.width, seed)
        stage.advance("eigenvectors")
    return positions


def laplacian_eigenvectors(adjacency: sp.csr_array, width: int, seed: int) -> npt.NDArray[np.float64]:
    """Eigenvectors (N, P) of I − D^(−1/2) A D^(−1/2) with the smallest eigenvalues but 0, rising, of norm 1.

    The graph must be connected and have more than P + 1 nodes. The entry of largest size is positive.
    """
    root = np.sqrt(adjacency.sum(axis=1, dtype=np.float64))
    normalised = sp.csr_array(sp.diags_array(1 / root) @ adjacency @ sp.diags_array(1 / root))
    # The largest eigenvalues of the normalised adjacency, 1 − λ, are where the iteration converges fast.
    # One thread: sums of several would differ in their last bits from machine to machine.
    with threadpool_limits(limits=1):
        values, vectors = eigsh(normalised, width + 1, which="LA", rng=np.random.default_rng(seed))
    vectors = vectors[:, np.argsort(-values)[1:]]  # without λ = 0, which says degree and no more
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(width)])
    return np.asarray(signs * vectors)


def _largest_component(adjacency: sp.csr_array) -> Integers:
    """Nodes of the largest connected component, the first of several."""
    _, component = connected_components(adjacency, directed=False)
    return np.flatnonzero(component == np.bincount(component).argmax())
