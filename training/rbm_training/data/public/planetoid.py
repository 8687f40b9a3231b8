"""Cora, Citeseer and Pubmed with the public split (Yang, Cohen & Salakhutdinov, ICML 2016)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from rbm_training.data.checks import check_labels
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import undirected
from rbm_training.data.graph import UNLABELLED, Graph, GraphError, Integers
from rbm_training.data.splits import PublishedSplit

if TYPE_CHECKING:
    from torch_geometric.data import Data


def read_planetoid(folder: Path, name: str) -> Dataset:
    """Read a set: features as published, not scaled. The files are pickles: trust whoever filled the folder.

    Raises:
        GraphError: a file is damaged.
    """
    from torch_geometric.io import read_planetoid_data  # it takes two seconds, of every run

    try:
        data = read_planetoid_data(str(folder), name)
    except Exception as error:  # the unit of work is this set; unpickling can fail in any way
        raise GraphError(str(folder), f"unreadable files ({error!r})", "the published ones") from error
    labels = _labels(data)
    num_nodes = len(labels)
    graph = Graph(
        name,
        undirected(data.edge_index.numpy(), num_nodes),
        sp.csr_array(data.x.numpy()),
        labels,
        np.arange(num_nodes),
        check_labels(str(folder), "y", labels, None),
    )
    masks = (mask.numpy()[None] for mask in (data.train_mask, data.val_mask, data.test_mask))
    return Dataset(graph, PublishedSplit(*masks))


def _labels(data: "Data") -> Integers:
    """Classes (N,). The test nodes are the last; gaps among them (Citeseer has 15) have no label."""
    labels: Integers = data.y.numpy().astype(np.int64)
    tests = np.flatnonzero(data.test_mask.numpy())
    labels[np.setdiff1d(np.arange(tests[0], len(labels)), tests)] = UNLABELLED
    return labels
