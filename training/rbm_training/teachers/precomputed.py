"""The teacher whose answers are known beforehand: the saved logits of any GNN, from any framework.

Nothing is trained and nothing can be asked again. Whether the answers came about without the unseen nodes of
an inductive run only their author knows.
Dimension letters: N nodes of the graph, C classes.
"""

from pathlib import Path

import numpy as np
import torch

from rbm_training.data.checks import check_ids, check_numbers
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Floats, GraphError, Integers, Task
from rbm_training.data.readers.arrays import BARE, ArrayFile
from rbm_training.teachers import TeacherResult


def read_logits(path: Path, dataset: Dataset) -> Floats:
    """Saved logits (N, C) in the order of the graph's nodes, columns in the order of its classes.

    Raises:
        GraphError: the file is not what it should be, or does not answer for every node.
    """
    arrays = ArrayFile(path, "an .npz with logits and node_ids, or an .npy")
    key = BARE if BARE in arrays else "logits"
    arrays.refuse_unlisted({key, "node_ids"})
    graph = dataset.graph
    if "node_ids" in arrays:
        logits = arrays.get(key, "f", (None, graph.num_classes))
        rows = _rows_by_id(arrays, len(logits), dataset)
    else:
        logits = arrays.get(key, "f", (dataset.num_source_nodes, graph.num_classes))
        rows = dataset.source_rows
    return check_numbers(arrays.source, key, logits)[rows]


def _rows_by_id(arrays: ArrayFile, num_rows: int, dataset: Dataset) -> Integers:
    ids = check_ids(arrays.source, "node_ids", arrays.get("node_ids", "iuUS", (num_rows,)))
    wanted = dataset.graph.node_ids
    if ids.dtype.kind != wanted.dtype.kind:
        raise GraphError(arrays.source, f"node_ids of type {ids.dtype}", f"{wanted.dtype}, as in the graph")
    missing = wanted[~np.isin(wanted, ids)]
    if len(missing):
        raise GraphError(
            arrays.source,
            f"no logits for {len(missing)} nodes, among them {missing[0].item()!r}",
            "a row for every node of the graph",
        )
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def teacher_from_logits(logits: Floats, task: Task, device: torch.device) -> TeacherResult:
    """The teacher's result of one run, from logits (N, C) of all nodes of its graph."""
    observed, unseen = (torch.from_numpy(logits[nodes]) for nodes in (task.observed_nodes, task.unseen))
    return TeacherResult(observed.to(device), unseen.to(device), entropy_shift=None, representations=None)
