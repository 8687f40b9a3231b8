"""Positional encodings: where a node lies in the graph, as a vector that can be cached.

Whatever the kind, only the observed graph is read, and a seed fixes every bit.
Dimension letters: N observed nodes, C classes, P position width.
"""

from collections.abc import Callable

import numpy as np
import torch

from rbm_training.config import PositionsConfig
from rbm_training.config.registry import ENCODINGS
from rbm_training.data.graph import Floats, Graph, GraphError, Task
from rbm_training.data.sparse_rows import unit_rows
from rbm_training.encodings.label_propagation import propagated_labels
from rbm_training.runtime.log import RunLog

Encoder = Callable[[Graph, PositionsConfig, int, RunLog], Floats]
"""Makes positions (N, P) of the nodes of a graph, from its part of the experiment and a seed."""


def encode_positions(task: Task, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P) of the observed nodes, the same for the same seed; isolated nodes get zeros.

    P is `config.width`, or 0 for kind `none`. Label propagation adds C columns; the rows of both blocks
    then have norm 1 each, so that neither drowns the other.

    Raises:
        GraphError: a graph too small for as many eigenvectors or directions as asked for; positions that are
            no finite numbers, a row for each node.
    """
    encode: Encoder = ENCODINGS[config.kind]
    positions = encode(task.observed, config, seed, log)
    _check(positions, task.observed, config.kind)
    if not config.label_propagation:
        return positions
    return np.concatenate([_unit(positions), _unit(propagated_labels(task, log))], axis=1)


def _check(positions: object, graph: Graph, kind: str) -> None:
    shape = getattr(positions, "shape", None)
    if not isinstance(positions, np.ndarray) or positions.ndim != 2 or len(positions) != graph.num_nodes:
        found = f"positions of kind {kind!r} of type {type(positions).__name__}, shape {shape}"
        raise GraphError(graph.name, found, f"an array of {graph.num_nodes} rows")
    if not np.isfinite(positions).all():
        raise GraphError(graph.name, f"positions of kind {kind!r} that are not finite", "finite numbers")


def no_positions(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """The encoding (N, 0) of kind `none`."""
    return np.zeros((graph.num_nodes, 0), np.float32)


def _unit(block: Floats) -> Floats:
    return unit_rows(torch.from_numpy(block)).numpy()
