"""A graph in one `.npz`: a user's own, or a named benchmark; read strictly, refused by name.

Keys: `edge_index` (2, M); features as `x` (N, F), or CSR parts `feat_indptr`, `feat_indices`, `feat_shape`
and `feat_data` (ones when left out); `y` (N,), -1 for unlabelled. Optional: `train_mask`, `val_mask` and
`test_mask` (N,), or `train_masks`, `val_masks` and `test_masks` (S, N) for S published splits; `node_ids`
(N,) integers or strings; `class_names` (C,). Nothing is unpickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_bundle.nodes import MAX_MAGNITUDE
from rbm_training.datasets.edges import undirected
from rbm_training.graph import UNLABELLED, Floats, Graph, GraphError, Integers

MAX_NODE_ID: Final = 2**63 - 1
Arrays = Mapping[str, npt.NDArray[Any]]
_ROLES: Final = ("train", "val", "test")
_CSR: Final = ("feat_indptr", "feat_indices", "feat_shape")
_KEYS: Final = {
    *("edge_index", "x", "y", "node_ids", "class_names", "feat_data", *_CSR),
    *(f"{role}_mask" for role in _ROLES),
    *(f"{role}_masks" for role in _ROLES),
    # Remarks of published files that follow from the rest.
    *("lcc_mask", "unlabeled_idx"),
}


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """Masks of S published splits, each (S, N) bool."""

    train: npt.NDArray[np.bool_]
    val: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LoadedGraph:
    """A graph and the split that came with it."""

    graph: Graph
    published: PublishedSplit | None


def load_npz(path: Path, name: str) -> LoadedGraph:
    """Read and check a graph.

    Raises:
        GraphError: the file or one of its arrays is not what it should be; says which, what was found
            and what was wanted.
    """
    return _Reader(str(path), _read_arrays(path)).load(name)


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise GraphError(str(path), "no file", "an .npz with edge_index, x (or feat_*), y")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # the unit of work is this file; numpy, zip and zlib each fail their own way
        raise GraphError(
            str(path), f"no readable .npz ({error})", "plain arrays, no pickled objects"
        ) from error


class _Reader:
    def __init__(self, source: str, arrays: Arrays) -> None:
        self.source = source
        self.arrays = arrays

    def load(self, name: str) -> LoadedGraph:
        if strangers := sorted(set(self.arrays) - _KEYS):
            raise self.error(f"unknown keys {', '.join(strangers)}", ", ".join(sorted(_KEYS)))
        features = self.features()
        num_nodes = features.shape[0]
        labels = self.labels(num_nodes)
        class_names = self.class_names(labels)
        graph = Graph(
            name, self.adjacency(num_nodes), features, labels, self.node_ids(num_nodes), class_names
        )
        return LoadedGraph(graph, self.published_split(num_nodes))

    def error(self, found: str, wanted: str) -> GraphError:
        return GraphError(self.source, found, wanted)

    def array(self, key: str, kinds: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        if key not in self.arrays:
            raise self.error(f"no {key}", f"{key} of shape {_shown(shape)}")
        array = self.arrays[key]
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in kinds:
            raise self.error(
                f"{key} of shape {_shown(array.shape)} and type {array.dtype}",
                f"shape {_shown(shape)} and a type of kind {'/'.join(_KIND_NAMES[kind] for kind in kinds)}",
            )
        return array

    def adjacency(self, num_nodes: int) -> sp.csr_array:
        edges = self.array("edge_index", "iu", (2, None)).astype(np.int64)
        outside = (edges < 0) | (edges >= num_nodes)
        if outside.any():
            first = int(np.flatnonzero(outside.any(axis=0))[0])
            raise self.error(
                f"edge_index column {first} = {edges[:, first].tolist()}", f"node numbers 0..{num_nodes - 1}"
            )
        return undirected(edges, num_nodes)

    def features(self) -> Floats | sp.csr_array:
        if "x" in self.arrays and any(key in self.arrays for key in _CSR):
            raise self.error("both x and feat_* arrays", "features in one form")
        if "x" in self.arrays:
            features = self.array("x", "fiub", (None, None))
            self.not_empty("x", features.shape)
            return self.in_range("x", features)
        return self.sparse_features()

    def sparse_features(self) -> sp.csr_array:
        num_nodes, num_features = (int(size) for size in self.array("feat_shape", "iu", (2,)))
        self.not_empty("feat_shape", (num_nodes, num_features))
        indptr = self.array("feat_indptr", "iu", (num_nodes + 1,)).astype(np.int64)
        if indptr[0] != 0 or (np.diff(indptr) < 0).any():
            raise self.error("feat_indptr that falls or does not start at 0", "rising row bounds from 0")
        indices = self.array("feat_indices", "iu", (int(indptr[-1]),)).astype(np.int64)
        if len(indices) and not (indices.min() >= 0 and indices.max() < num_features):
            raise self.error(
                f"feat_indices in {indices.min()}..{indices.max()}", f"columns 0..{num_features - 1}"
            )
        data = np.ones(len(indices), np.float32)
        if "feat_data" in self.arrays:
            data = self.in_range("feat_data", self.array("feat_data", "fiub", (len(indices),)))
        return sp.csr_array((data, indices, indptr), shape=(num_nodes, num_features))

    def not_empty(self, key: str, shape: tuple[int, ...]) -> None:
        if min(shape) < 1:
            raise self.error(f"{key} of shape {_shown(shape)}", "at least one node and one feature")

    def in_range(self, key: str, values: npt.NDArray[Any]) -> Floats:
        bad = ~(np.abs(values) <= MAX_MAGNITUDE)  # a NaN is out of range as well
        if bad.any():
            place = [int(index) for index in np.argwhere(bad)[0]]
            raise self.error(
                f"{key}{place} = {values[tuple(place)]}", f"finite numbers within ±{MAX_MAGNITUDE:.0e}"
            )
        return values.astype(np.float32)

    def labels(self, num_nodes: int) -> Integers:
        labels = self.array("y", "iu", (num_nodes,)).astype(np.int64)
        if labels.min() < UNLABELLED:
            raise self.error(f"y with a value {labels.min()}", "classes from 0, or -1 for unlabelled")
        if labels.max() == UNLABELLED:
            raise self.error("y without a single label", "labels for some nodes")
        return labels

    def class_names(self, labels: Integers) -> tuple[str, ...]:
        used = np.unique(labels[labels != UNLABELLED])
        names = self.text("class_names") if "class_names" in self.arrays else None
        num_classes = len(used) if names is None else len(names)
        if names is not None and (len(names) <= used[-1] or len(set(names)) < len(names)):
            raise self.error(
                f"{len(names)} class_names ({len(set(names))} different)",
                f"different names for classes 0..{used[-1]}",
            )
        skipped = np.setdiff1d(np.arange(num_classes), used)
        if len(skipped):
            name = str(skipped[0]) if names is None else names[skipped[0]]
            raise self.error(f"class {name!r} without labels", "at least one label for each class")
        if num_classes < 2:
            raise self.error("one class", "at least two")
        return tuple(names if names is not None else map(str, range(num_classes)))

    def node_ids(self, num_nodes: int) -> npt.NDArray[Any]:
        if "node_ids" not in self.arrays:
            return np.arange(num_nodes)
        ids = self.array("node_ids", "iuUS", (num_nodes,))
        if ids.dtype.kind in "US":
            ids = np.array(self.text("node_ids"))
        elif ids.dtype.kind == "u" and ids.max() > MAX_NODE_ID:
            raise self.error(f"node id {ids.max()}", f"integers up to {MAX_NODE_ID}, or text")
        else:
            ids = ids.astype(np.int64)
        unique, counts = np.unique(ids, return_counts=True)
        if len(unique) != num_nodes:
            raise self.error(f"node id {unique[counts > 1][0].item()!r} twice", "different node_ids")
        return ids

    def text(self, key: str) -> list[str]:
        """Strings, or bytes in UTF-8; all of them such that they can be written as UTF-8 again."""
        values = self.array(key, "US", (None,)).tolist()
        try:
            decoded = [value if isinstance(value, str) else value.decode() for value in values]
            "".join(decoded).encode()
        except UnicodeError as error:
            raise self.error(f"{key} that are no text ({error})", "UTF-8") from error
        return decoded

    def published_split(self, num_nodes: int) -> PublishedSplit | None:
        given = {suffix: [f"{role}_{suffix}" for role in _ROLES] for suffix in ("mask", "masks")}
        forms = [suffix for suffix, keys in given.items() if any(key in self.arrays for key in keys)]
        if not forms:
            return None
        if len(forms) == 2:
            raise self.error("both *_mask and *_masks", "one published split, or several, not both")
        shape = (None, num_nodes) if forms == ["masks"] else (num_nodes,)
        masks = [np.atleast_2d(self.array(key, "biu", shape).astype(bool)) for key in given[forms[0]]]
        counts = [len(mask) for mask in masks]
        if min(counts) < 1 or len(set(counts)) > 1:
            raise self.error(f"{counts} train, val and test masks", "as many of each, at least one")
        return PublishedSplit(*masks)


_KIND_NAMES: Final = {
    "i": "integer",
    "u": "unsigned",
    "f": "float",
    "b": "boolean",
    "U": "text",
    "S": "bytes",
}


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
