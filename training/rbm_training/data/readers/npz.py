"""A graph in one `.npz`: a user's own, or a named benchmark; read strictly, refused by name.

Keys: `edge_index` (2, M); features as `x` (N, F), or CSR parts `feat_indptr`, `feat_indices`, `feat_shape`
and `feat_data` (ones when left out); `y` (N,), -1 for unlabelled. Optional: `train_mask`, `val_mask` and
`test_mask` (N,), or `train_masks`, `val_masks` and `test_masks` (S, N) for S published splits; `node_ids`
(N,) integers or strings; `class_names` (C,); `unlabeled_idx`, nodes whose `y` says nothing.
"""

from pathlib import Path
from typing import Final

import numpy as np
import scipy.sparse as sp

from rbm_training.data.checks import check_ids, check_labels, check_nodes, check_numbers, check_shape
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import undirected
from rbm_training.data.graph import UNLABELLED, Floats, Graph, GraphError, Integers
from rbm_training.data.readers.arrays import ArrayFile
from rbm_training.data.splits import PublishedSplit

_ROLES: Final = ("train", "val", "test")
_CSR: Final = ("feat_indptr", "feat_indices", "feat_shape")
_KEYS: Final = {
    *("edge_index", "x", "y", "node_ids", "class_names", "feat_data", *_CSR),
    *(f"{role}_mask" for role in _ROLES),
    *(f"{role}_masks" for role in _ROLES),
    "unlabeled_idx",
    "lcc_mask",  # a remark of published files that follows from the edges
}


def load_npz(path: Path, name: str) -> Dataset:
    """Read and check a graph.

    Raises:
        GraphError: the file or one of its arrays is not what it should be; says which, what was found
            and what was wanted.
    """
    arrays = ArrayFile(path, "an .npz with edge_index, x (or feat_*), y")
    arrays.refuse_unlisted(_KEYS)
    features = _features(arrays)
    num_nodes = features.shape[0]
    labels = _labels(arrays, num_nodes)
    names = arrays.text("class_names") if "class_names" in arrays else None
    class_names = check_labels(arrays.source, "y", labels, names)
    edges = arrays.get("edge_index", "iu", (2, None)).astype(np.int64)
    check_nodes(arrays.source, "edge_index", edges, num_nodes)
    ids = np.arange(num_nodes)
    if "node_ids" in arrays:
        ids = check_ids(arrays.source, "node_ids", arrays.get("node_ids", "iuUS", (num_nodes,)))
    graph = Graph(name, undirected(edges, num_nodes), features, labels, ids, class_names)
    return Dataset(graph, _published_split(arrays, num_nodes))


def _features(arrays: ArrayFile) -> Floats | sp.csr_array:
    if "x" not in arrays:
        return arrays.sparse("feat")
    if any(key in arrays for key in _CSR):
        raise GraphError(arrays.source, "both x and feat_* arrays", "features in one form")
    features = arrays.get("x", "fiub", (None, None))
    check_shape(arrays.source, "x", *features.shape)
    return check_numbers(arrays.source, "x", features)


def _labels(arrays: ArrayFile, num_nodes: int) -> Integers:
    labels = arrays.get("y", "iu", (num_nodes,)).astype(np.int64)
    if "unlabeled_idx" in arrays:
        nodes = arrays.get("unlabeled_idx", "iu", (None,)).astype(np.int64)
        check_nodes(arrays.source, "unlabeled_idx", nodes, num_nodes)
        labels[nodes] = UNLABELLED
    return labels


def _published_split(arrays: ArrayFile, num_nodes: int) -> PublishedSplit | None:
    given = {suffix: [f"{role}_{suffix}" for role in _ROLES] for suffix in ("mask", "masks")}
    forms = [suffix for suffix, keys in given.items() if any(key in arrays for key in keys)]
    if not forms:
        return None
    if len(forms) == 2:
        raise GraphError(
            arrays.source, "both *_mask and *_masks", "one published split, or several, not both"
        )
    shape = (None, num_nodes) if forms == ["masks"] else (num_nodes,)
    masks = [np.atleast_2d(arrays.get(key, "biu", shape).astype(bool)) for key in given[forms[0]]]
    counts = [len(mask) for mask in masks]
    if min(counts) < 1 or len(set(counts)) > 1:
        raise GraphError(
            arrays.source, f"{counts} train, val and test masks", "as many of each, at least one"
        )
    return PublishedSplit(*masks)
