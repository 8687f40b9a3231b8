"""Amazon Photo and Computers, Coauthor CS and Physics (Shchur et al., "Pitfalls of Graph Neural Network
Evaluation", 2018), from the files of that study.

PyTorch Geometric reads the same files from the same folders, but turns the word counts of Coauthor into ones.
"""

from pathlib import Path
from typing import Final

import numpy as np

from rbm_training.data.checks import check_labels
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import undirected
from rbm_training.data.graph import Graph, GraphError
from rbm_training.data.readers.arrays import ArrayFile

_KEYS: Final = {
    "labels",
    *(f"{matrix}_{part}" for matrix in ("adj", "attr") for part in ("data", "indices", "indptr", "shape")),
}


def read_benchmark(path: Path, name: str) -> Dataset:
    """Read the `.npz` of a set: adjacency and features as CSR parts, labels.

    Raises:
        GraphError: an array is missing or another than it should be.
    """
    arrays = ArrayFile(path, "an .npz of gnn-benchmark", only=_KEYS)
    features, adjacency = arrays.sparse("attr"), arrays.sparse("adj")
    num_nodes = features.shape[0]
    if adjacency.shape != (num_nodes, num_nodes):
        raise GraphError(arrays.source, f"adj of shape {adjacency.shape}", f"({num_nodes}, {num_nodes})")
    labels = arrays.get("labels", "iu", (num_nodes,)).astype(np.int64)
    names = check_labels(arrays.source, "labels", labels, None)
    edges = undirected(np.stack(adjacency.nonzero()), num_nodes)
    return Dataset(Graph(name, edges, features, labels, np.arange(num_nodes), names))
