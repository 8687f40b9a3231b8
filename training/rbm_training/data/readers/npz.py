"""A graph in arrays: one `.npz`, a user's own or a named benchmark; read strictly, refused by name.

Keys: `edge_index` (2, M); features as `x` (N, F), or CSR parts `feat_indptr`, `feat_indices`, `feat_shape`
and `feat_data` (ones when left out), or none, and then they are the nodes' degrees; `y` (N,), -1 for
unlabelled. Optional: `train_mask`, `val_mask` and `test_mask` (N,), or `train_masks`, `val_masks` and
`test_masks` (S, N) for S published splits, those of validation possibly left out; `node_ids` (N,) integers or
strings; `class_names` (C,); `unlabeled_idx`, nodes whose `y` says nothing.
"""

from pathlib import Path
from typing import Final

import numpy as np

from rbm_bundle.degrees import DEGREE_FEATURES, degree_features
from rbm_training.data.checks import check_ids, check_labels, check_nodes, check_numbers, check_shape
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import EDGES_ARE_PLAIN, EdgeCounts, symmetrised
from rbm_training.data.graph import UNLABELLED, Features, Graph, GraphError, Integers
from rbm_training.data.graph_statistics import Source
from rbm_training.data.readers.arrays import ArrayFile, NamedArrays
from rbm_training.data.readers.split_column import SplitColumn
from rbm_training.data.splits import PublishedSplit

_ROLES: Final = ("train", "val", "test")
_CSR: Final = ("feat_indptr", "feat_indices", "feat_shape")
_UNUSED: Final = ("edge_weight", "edge_attr")
_KEYS: Final = {
    *("edge_index", "x", "y", "node_ids", "class_names", "feat_data", *_CSR),
    *(f"{role}_mask" for role in _ROLES),
    *(f"{role}_masks" for role in _ROLES),
    "unlabeled_idx",
    *_UNUSED,
    "lcc_mask",  # a remark of published files that follows from the edges
}


def load_npz(path: Path, name: str, split_column: SplitColumn | None = None) -> Dataset:
    """Read and check a graph.

    Raises:
        GraphError: the file or one of its arrays is not what it should be; says which, what was found
            and what was wanted.
    """
    return dataset_of(ArrayFile(path, "an .npz with edge_index, x (or feat_*), y"), name, split_column)


def dataset_of(
    arrays: NamedArrays, name: str, split_column: SplitColumn | None = None, unused: tuple[str, ...] = ()
) -> Dataset:
    """The graph in arrays.

    Args:
        split_column: by which nodes are divided, an array (N,).
        unused: what the source holds and nobody reads, besides weights of edges.

    Raises:
        GraphError: as above.
    """
    if split_column is None:
        arrays.refuse_unlisted(_KEYS)
    features = _features(arrays)
    labels = _labels(arrays, None if features is None else features.shape[0])
    num_nodes = len(labels)
    ranks = None
    if split_column is not None:
        ranks = split_column.ranks_in_arrays(arrays, _KEYS, num_nodes)
        arrays.refuse_unlisted({*_KEYS, split_column.name})
    check_shape(arrays.source, "y", num_nodes, 1)
    names = arrays.text("class_names") if "class_names" in arrays else None
    class_names = check_labels(arrays.source, "y", labels, names)
    edges = arrays.get("edge_index", "iu", (2, None)).astype(np.int64)
    check_nodes(arrays.source, "edge_index", edges, num_nodes)
    ids = np.arange(num_nodes)
    if "node_ids" in arrays:
        ids = check_ids(arrays.source, "node_ids", arrays.get("node_ids", "iuUS", (num_nodes,)))
    adjacency, counts = symmetrised(edges, num_nodes)
    if features is None:
        features = degree_features(np.diff(adjacency.indptr))
    graph = Graph(name, adjacency, features, labels, ids, class_names)
    published = _published_split(arrays, num_nodes)
    return Dataset(graph, published, source=_source(arrays, counts, unused), ranks=ranks)


def _source(arrays: NamedArrays, edges: EdgeCounts, unused: tuple[str, ...]) -> Source:
    of_edges = tuple(
        f"{Path(arrays.source).name}: {key}: {EDGES_ARE_PLAIN}" for key in _UNUSED if key in arrays
    )
    has_features = "x" in arrays or _has_csr(arrays)
    return Source(edges, unused + of_edges, has_features, () if has_features else DEGREE_FEATURES)


def _has_csr(arrays: NamedArrays) -> bool:
    return any(key in arrays for key in (*_CSR, "feat_data"))


def _features(arrays: NamedArrays) -> Features | None:
    if "x" not in arrays:
        return arrays.sparse("feat") if _has_csr(arrays) else None
    if _has_csr(arrays):
        raise GraphError(arrays.source, "both x and feat_* arrays", "features in one form")
    features = arrays.get("x", "fiub", (None, None))
    check_shape(arrays.source, "x", *features.shape)
    return check_numbers(arrays.source, "x", features)


def _labels(arrays: NamedArrays, num_nodes: int | None) -> Integers:
    labels = _classes(arrays, num_nodes)
    if "unlabeled_idx" in arrays:
        nodes = arrays.get("unlabeled_idx", "iu", (None,)).astype(np.int64)
        check_nodes(arrays.source, "unlabeled_idx", nodes, len(labels))
        labels[nodes] = UNLABELLED
    return labels


def _classes(arrays: NamedArrays, num_nodes: int | None) -> Integers:
    """Class numbers (N,), of y (N,) or (N, 1); what else y may stand for is told by its name."""
    kind, shape = arrays.form("y")
    if kind == "f":
        wanted = "integers, a class each; numbers (regression) are not learnt"
        raise GraphError(arrays.source, "y of floats", wanted)
    if len(shape) == 2 and shape[1] > 1:
        wanted = "shape (N), one class a node; several (multi-label) are not learnt"
        raise GraphError(arrays.source, f"y of shape {shape}", wanted)
    wanted_shape = (num_nodes, 1) if len(shape) == 2 else (num_nodes,)
    return arrays.get("y", "iub", wanted_shape).astype(np.int64).reshape(-1)


def _published_split(arrays: NamedArrays, num_nodes: int) -> PublishedSplit | None:
    given = {suffix: [f"{role}_{suffix}" for role in _ROLES] for suffix in ("mask", "masks")}
    forms = [suffix for suffix, keys in given.items() if any(key in arrays for key in keys)]
    if not forms:
        return None
    if len(forms) == 2:
        raise GraphError(
            arrays.source, "both *_mask and *_masks", "one published split, or several, not both"
        )
    shape = (None, num_nodes) if forms == ["masks"] else (num_nodes,)
    keys = dict(zip(_ROLES, given[forms[0]], strict=True))
    masks = {
        role: np.atleast_2d(arrays.get(key, "biu", shape).astype(bool))
        for role, key in keys.items()
        if role != "val" or key in arrays
    }
    masks.setdefault("val", np.zeros_like(masks["train"]))
    counts = [len(masks[role]) for role in _ROLES]
    if min(counts) < 1 or len(set(counts)) > 1:
        raise GraphError(
            arrays.source, f"{counts} train, val and test masks", "as many of each, at least one"
        )
    return PublishedSplit(*(masks[role] for role in _ROLES))
