"""Label propagation: how much of each class's training labels lies around a node.

One-hot labels P0 of the training nodes, averaged over neighbours by A: P = (I + αA)⁹ αA P0, rows then
divided by their sum. A training node's own label takes no part in its own row: a student would read the
answer off its input.
Dimension letters: N observed nodes, T training nodes, B of them at a time, C classes.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.data.graph import Floats, Integers, Task
from rbm_training.runtime.log import RunLog

ALPHA = 0.1  # weight of a hop
NUM_STEPS = 10
CHUNK = 64  # training nodes whose influence on all N nodes is held at once

Shares = npt.NDArray[np.float64]


def propagated_labels(task: Task, log: RunLog) -> Floats:
    """Shares (N, C) of the classes around each observed node, summing to 1; zeros where no label reaches."""
    averaging = row_normalised(task.observed.adjacency)
    labels = np.eye(task.observed.num_classes)[task.observed.labels[task.train]]  # (T, C)
    start = np.zeros((task.observed.num_nodes, task.observed.num_classes))
    start[task.train] = labels
    shares = _propagate(averaging, start)
    spreading = sp.csr_array(averaging.T)
    chunks = np.array_split(np.arange(len(labels)), -(-len(labels) // CHUNK))
    with log.stage("label propagation", len(chunks)) as stage:
        for chunk in chunks:
            shares[task.train[chunk]] = _without_own_labels(spreading, task.train, chunk, labels)
            stage.advance()
    sums = shares.sum(axis=1, keepdims=True)
    return (shares / np.where(sums > 0, sums, 1)).astype(np.float32)


def row_normalised(adjacency: sp.csr_array) -> sp.csr_array:
    """A, in float64: each neighbour's share of its node, so that A x is the mean over neighbours."""
    degrees = adjacency.sum(axis=1, dtype=np.float64)
    return sp.csr_array(sp.diags_array(1 / np.maximum(degrees, 1)) @ adjacency)


def _propagate(averaging: sp.csr_array, start: Shares) -> Shares:
    """(I + αA)⁹ αA times the start (N, any)."""
    total = ALPHA * (averaging @ start)
    for _ in range(NUM_STEPS - 1):
        total = total + ALPHA * (averaging @ total)
    return total


def _without_own_labels(spreading: sp.csr_array, train: Integers, chunk: Integers, labels: Shares) -> Shares:
    """Rows (B, C) of a chunk of the training nodes, each from the labels of all the others.

    The own label is left out of the sum, not subtracted from it: what rounding would leave of it is all
    there is where no other label reaches, and would be scaled up to a whole row.

    Args:
        spreading: Aᵀ, which tells for one node how much it takes from each of the others.
    """
    columns = np.arange(len(chunk))
    ones = np.zeros((spreading.shape[0], len(chunk)))  # (N, B)
    ones[train[chunk], columns] = 1
    influence = _propagate(spreading, ones)[train]  # (T, B)
    influence[chunk, columns] = 0
    return influence.T @ labels
