"""Propagated features: what the neighbourhood of a node speaks of, in a few numbers.

Rows of norm 1, cut to their P leading directions (truncated SVD), then averaged over a node and its
neighbours, hop by hop (as SGC averages features, Wu et al., ICML 2019). The mean over an unseen node's
neighbours is then nearly what it would have itself.
Dimension letters: N nodes, F features, P position width.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from rbm_training.config import PositionsConfig
from rbm_training.data.graph import Floats, Graph, GraphError
from rbm_training.encodings.label_propagation import row_normalised
from rbm_training.runtime.log import RunLog


def encode_by_propagation(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P); isolated nodes get zeros.

    Raises:
        GraphError: fewer features, or nodes, than directions asked for.
    """
    most = min(graph.num_nodes, graph.num_features)
    if config.width > most:
        raise GraphError(
            graph.name,
            f"{graph.num_features} features of {graph.num_nodes} nodes for positions.width = {config.width}",
            f"a width of at most {most}, or another positions.kind",
        )
    with log.stage("positions", 1 + config.hops) as stage:
        rows = leading_directions(graph, config.width, seed)
        stage.advance("directions")
        averaging = mean_with_neighbors(graph.adjacency)
        for _ in range(config.hops):
            rows = averaging @ rows
            stage.advance("hops")
    rows[np.diff(graph.adjacency.indptr) == 0] = 0
    return rows.astype(np.float32)


def leading_directions(graph: Graph, width: int, seed: int) -> npt.NDArray[np.float64]:
    """Features of norm 1 in the coordinates of their P leading directions, (N, P)."""
    rows = normalize(sp.csr_matrix(graph.features, dtype=np.float64))
    # One thread: sums of several would differ in their last bits from machine to machine.
    with threadpool_limits(limits=1):
        return np.asarray(TruncatedSVD(width, random_state=seed).fit_transform(rows))


def mean_with_neighbors(adjacency: sp.csr_array) -> sp.csr_array:
    """The matrix (N, N) that takes the mean over a node and its neighbours."""
    return row_normalised(sp.csr_array(adjacency + sp.eye_array(adjacency.shape[0])))
