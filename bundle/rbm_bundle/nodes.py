"""The nodes a bundle knows: id → row → position and, where cached, features.

Arrays are read through `mmap`, so a table of any size opens at once and costs the rows that are asked for.
Dimension letters: N nodes, B batch, F features, P position width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rbm_bundle.arrays import ArraySpec, map_array
from rbm_bundle.errors import BundleError
from rbm_bundle.features import CsrFeatures
from rbm_bundle.manifest import CachedFeatures, IdKind, Manifest

UNKNOWN = -1
MAX_MAGNITUDE = 1e15  # of a feature or position: beyond it, the squares of a row overflow float32
NODE_IDS_FILE = "node_ids.npy"
POSITIONS_FILE = "positions.npy"
DENSE_FEATURES_FILE = "features.dense.npy"
CSR_FILES = ("features.indptr.npy", "features.indices.npy", "features.values.npy")

NodeId = int | str
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


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
        """The same, as a list where ids are row numbers: for the few of a request, this takes none of the
        functions of numpy, of which each costs as much as the lookup."""
        if isinstance(ids, np.ndarray):
            return self._rows_of_integers(ids)
        if self.ids is None:
            N = len(self.positions)
            return [i if isinstance(i, int) and 0 <= i < N else UNKNOWN for i in ids]
        if self.ids.dtype.kind != "S":
            fits = [isinstance(node_id, int) and -(2**63) <= node_id < 2**63 for node_id in ids]
            keys = [node_id if fit else 0 for node_id, fit in zip(ids, fits, strict=True)]
            return self._search(np.array(keys, np.int64), np.array(fits, bool))
        encoded = [str(node_id).encode(errors="surrogatepass") for node_id in ids]
        width = self.ids.dtype.itemsize
        # Fixed-width bytes cut long ids and drop trailing NULs: such an id would match another node's.
        fits = [len(key) <= width and not key.endswith(b"\0") for key in encoded]
        return self._search(np.array(encoded, dtype=self.ids.dtype), np.array(fits, bool))

    def _rows_of_integers(self, ids: Integers) -> Integers:
        if self.ids is None:
            return np.where((ids >= 0) & (ids < self.num_nodes), ids, UNKNOWN)
        if self.id_kind == "string":
            return np.full(len(ids), UNKNOWN)
        return self._search(ids, np.ones(len(ids), bool))

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

    def _search(self, keys: npt.NDArray[Any], comparable: npt.NDArray[np.bool_]) -> Integers:
        assert self.ids is not None
        if self.num_nodes == 0:
            return np.full(len(keys), UNKNOWN, np.int64)
        rows = np.minimum(np.searchsorted(self.ids, keys), self.num_nodes - 1)
        return np.where(comparable & (self.ids[rows] == keys), rows, UNKNOWN).astype(np.int64)


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
