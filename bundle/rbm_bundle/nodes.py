"""The nodes a bundle knows: id → row → position and, where cached, features.

Arrays are read through `mmap`, so a table of any size opens at once and costs the rows that are asked for.
Dimension letters: N nodes, B batch, F features, P position width.
"""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from rbm_bundle.arrays import ArraySpec, map_array
from rbm_bundle.errors import BundleError
from rbm_bundle.features import CsrFeatures
from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import CachedFeatures, IdKind

UNKNOWN = -1
MAX_MAGNITUDE = 1e15  # of a feature or position: beyond it, the squares of a row overflow float32
NODE_IDS_FILE = "node_ids.npy"
POSITIONS_FILE = "positions.npy"
DENSE_FEATURES_FILE = "features.dense.npy"
CSR_FILES = ("features.indptr.npy", "features.indices.npy", "features.values.npy")

NodeId = int | str
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_] | bool


@dataclass(frozen=True, slots=True)
class NodeTable:
    """Ids, positions and optional features of N known nodes.

    Shapes: ids (N,) sorted, int64 or fixed-width UTF-8 bytes, or None when the ids are 0..N-1;
    positions (N, P) float32, row i belongs to ids[i].
    """

    ids: npt.NDArray[Any] | None
    positions: Floats
    features: Floats | CsrFeatures | None = None

    @property
    def num_nodes(self) -> int:
        """N."""
        return int(self.positions.shape[0])

    @property
    def position_width(self) -> int:
        """P."""
        return int(self.positions.shape[1])

    @property
    def id_kind(self) -> IdKind:
        """What an id is: a row number, any integer, or a string."""
        if self.ids is None:
            return "range"
        return "string" if self.ids.dtype.kind == "S" else "integer"

    @property
    def cached_features(self) -> CachedFeatures:
        """How features are cached, if they are."""
        if self.features is None:
            return None
        return "csr" if isinstance(self.features, CsrFeatures) else "dense"

    def rows_of(self, ids: list[NodeId] | Integers) -> Integers:
        """Row of each id, `UNKNOWN` (-1) where the table has no such node; shape (B,)."""
        return np.asarray(self.find(ids), np.int64)

    def find(self, ids: list[NodeId] | Integers) -> list[int] | Integers:
        """The same, a list for a list: each function of numpy costs as much as the lookup of a few ids."""
        if self.ids is None:
            N = len(self.positions)
            if isinstance(ids, np.ndarray):
                return np.where((ids >= 0) & (ids < N), ids, UNKNOWN)
            return [i if isinstance(i, int) and 0 <= i < N else UNKNOWN for i in ids]
        keys, fit = _strings(ids, self.ids.dtype) if self.ids.dtype.kind == "S" else _integers(ids)
        if not len(self.ids):
            rows = np.full(len(ids), UNKNOWN)
        else:
            places = self.ids.searchsorted(keys)
            rows = np.where(fit & (self.ids.take(places, mode="clip") == keys), places, UNKNOWN)
        return rows.tolist() if isinstance(ids, list) else rows

    def ids_of(self, rows: npt.NDArray[np.integer]) -> list[NodeId]:
        """Ids of known rows, as a caller has them; a byte that is no UTF-8 is replaced."""
        if self.ids is None:
            return [int(row) for row in rows]
        ids = self.ids.take(rows).tolist()
        return [node_id.decode(errors="replace") for node_id in ids] if self.id_kind == "string" else ids

    def positions_of(self, rows: list[int] | Integers) -> Floats:
        """Positions of known rows, shape (B, P)."""
        return self.positions.take(rows, axis=0)  # several times faster than an index for a few rows

    def features_of(self, rows: list[int] | Integers) -> Floats | CsrFeatures:
        """Cached features of known rows, (B, F), in the form they are cached in.

        Raises:
            LookupError: the bundle caches no features.
        """
        if self.features is None:
            raise LookupError("this bundle caches no node features")
        if isinstance(self.features, CsrFeatures):
            return self.features.take(np.asarray(rows))
        return self.features.take(rows, axis=0)


def _integers(ids: list[NodeId] | Integers) -> tuple[Integers, Flags]:
    """Ids as keys of a table of integers, and which of them can be in one."""
    if isinstance(ids, np.ndarray):
        return ids, True
    try:
        return np.array(array("q", cast(list[int], ids))), True
    except (TypeError, OverflowError):  # one is no integer of 64 bits
        fit = [isinstance(node_id, int) and -(2**63) <= node_id < 2**63 for node_id in ids]
        keys = [node_id if fits else 0 for node_id, fits in zip(ids, fit, strict=True)]
        return np.array(keys, np.int64), np.array(fit)


def _strings(ids: list[NodeId] | Integers, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], Flags]:
    """Ids as keys of a table of strings, and which of them can be in one."""
    encoded = [i.encode(errors="surrogatepass") if isinstance(i, str) else b"\0" for i in ids]
    # Fixed-width bytes cut long ids and drop trailing NULs: such an id would match another node's.
    fit = [len(key) <= dtype.itemsize and not key.endswith(b"\0") for key in encoded]
    return np.array(encoded, dtype), np.array(fit, np.bool_)


def mean_of_known_neighbors(positions: Floats, neighbor_rows: list[Integers]) -> tuple[Floats, Integers]:
    """Positions of unseen nodes: the mean over their *known* neighbours, zeros where none is known.

    The one rule that training (when it measures unseen nodes) and the service share. Unknown neighbours are
    left out of the mean, not counted as zeros (docs/method.md, section "Unseen nodes").

    Args:
        positions: (N, P) positions of the known nodes.
        neighbor_rows: for each of B unseen nodes, the rows of its neighbours; `UNKNOWN` ones are ignored.

    Returns:
        The (B, P) positions, and (B,) how many neighbours were known.
    """
    means = np.zeros((len(neighbor_rows), positions.shape[1]), np.float32)
    num_known = np.zeros(len(neighbor_rows), np.int64)
    for row, neighbors in enumerate(neighbor_rows):
        known = neighbors[neighbors != UNKNOWN]
        num_known[row] = len(known)
        if len(known):
            means[row] = positions[known].mean(axis=0, dtype=np.float64)
    return means, num_known


def node_table_arrays(table: NodeTable) -> dict[str, npt.NDArray[Any]]:
    """The table as the files of a bundle: file name → array."""
    arrays: dict[str, npt.NDArray[Any]] = {POSITIONS_FILE: table.positions}
    if table.ids is not None:
        arrays[NODE_IDS_FILE] = table.ids
    if isinstance(table.features, CsrFeatures):
        parts = (table.features.indptr, table.features.indices, table.features.values)
        arrays.update(zip(CSR_FILES, parts, strict=True))
    elif table.features is not None:
        arrays[DENSE_FEATURES_FILE] = table.features
    return arrays


def open_node_table(folder: Path, manifest: Manifest) -> NodeTable:
    """Map the node arrays of a bundle and check them against its manifest.

    Raises:
        BundleError: a dtype, shape or order that the manifest does not promise.
    """
    nodes, features = manifest.nodes, manifest.features
    positions = _floats(folder / POSITIONS_FILE, (nodes.num_nodes, nodes.position_width))
    ids = None
    if nodes.id_kind != "range":
        ids = map_array(folder / NODE_IDS_FILE, ArraySpec(nodes.id_kind, (nodes.num_nodes,)))
        if not (ids[:-1] < ids[1:]).all():
            raise BundleError(folder / NODE_IDS_FILE, "ids out of order or repeated", "strictly rising ids")
    return NodeTable(
        ids, positions, _open_features(folder, nodes.num_nodes, features.num_features, features.cached)
    )


def _open_features(
    folder: Path, num_nodes: int, num_features: int, kind: CachedFeatures
) -> Floats | CsrFeatures | None:
    if kind is None:
        return None
    if kind == "dense":
        return _floats(folder / DENSE_FEATURES_FILE, (num_nodes, num_features))
    indptr = map_array(folder / CSR_FILES[0], ArraySpec("int64", (num_nodes + 1,)))
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():  # a difference of such bounds may overflow
        raise BundleError(folder / CSR_FILES[0], "row bounds that fall", "rising bounds from 0")
    nnz = int(indptr[-1])
    indices = map_array(folder / CSR_FILES[1], ArraySpec("int64", (nnz,)))
    if nnz and not (indices.min() >= 0 and indices.max() < num_features):
        raise BundleError(folder / CSR_FILES[1], "a column outside the features", f"0..{num_features - 1}")
    values = _floats(folder / CSR_FILES[2], (nnz,))
    return CsrFeatures(indptr, indices, values, num_features)


def _floats(path: Path, shape: tuple[int, ...]) -> Floats:
    array: Floats = map_array(path, ArraySpec("float32", shape))
    # Put so that a NaN, which is neither above nor below, is refused as well.
    if array.size and not -MAX_MAGNITUDE <= array.min() <= array.max() <= MAX_MAGNITUDE:
        raise BundleError(
            path, f"numbers up to {np.abs(array).max()}", f"finite ones up to {MAX_MAGNITUDE:.0e}"
        )
    return array
