"""Positional encodings: where a node lies in the graph, as a vector that can be cached.

Whatever the kind, only the observed graph is read, and a seed fixes every bit.
Dimension letters: N observed nodes, C classes, P position width.
"""

from collections.abc import Callable

import numpy as np
import torch

from rbm_bundle.nodes import UNKNOWN, mean_of_known_neighbors
from rbm_training.config import PositionsConfig
from rbm_training.graph import Floats, Graph, Integers, Task
from rbm_training.positions.label_propagation import propagated_labels
from rbm_training.positions.laplacian import encode_by_eigenvectors
from rbm_training.positions.propagated import encode_by_propagation
from rbm_training.positions.skip_gram import encode_by_walks
from rbm_training.rows import unit_rows
from rbm_training.run_log import RunLog

__all__ = ["encode_positions", "infer_positions"]

Encoder = Callable[[Graph, PositionsConfig, int, RunLog], Floats]


def encode_positions(task: Task, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P) of the observed nodes, the same for the same seed; isolated nodes get zeros.

    P is `config.width`, or 0 for kind `none`. Label propagation adds C columns; the rows of both blocks
    then have norm 1 each, so that neither drowns the other.

    Raises:
        GraphError: a graph too small for as many eigenvectors or directions as asked for.
    """
    positions = _ENCODERS[config.kind](task.observed, config, seed, log)
    if not config.label_propagation:
        return positions
    return np.concatenate([_unit(positions), _unit(propagated_labels(task, log))], axis=1)


def infer_positions(graph: Graph, known: Integers, positions: Floats, strangers: Integers) -> Floats:
    """Positions (len(strangers), P) of nodes without one, by the rule the service uses: the mean over their
    known neighbours.

    Args:
        known: nodes of the graph whose positions (len(known), P) are given.
    """
    rows = np.full(graph.num_nodes, UNKNOWN, np.int64)
    rows[known] = np.arange(len(known))
    means, _ = mean_of_known_neighbors(positions, [rows[graph.neighbors_of(node)] for node in strangers])
    return means


def _no_positions(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    return np.zeros((graph.num_nodes, 0), np.float32)


_ENCODERS: dict[str, Encoder] = {
    "deepwalk": encode_by_walks,
    "node2vec": encode_by_walks,
    "laplacian": encode_by_eigenvectors,
    "propagated": encode_by_propagation,
    "none": _no_positions,
}


def _unit(block: Floats) -> Floats:
    return unit_rows(torch.from_numpy(block)).numpy()
