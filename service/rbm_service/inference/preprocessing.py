"""Between a request and the graph: ids → rows → features and positions.

Pure functions of the request and the bundle. Everything a caller can get wrong is refused here, before its
rows share a batch with anyone else's. Dimension letters: B rows, F features, P position width.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rbm_bundle import Bundle, NodeTable
from rbm_bundle.features import CsrFeatures
from rbm_bundle.nodes import UNKNOWN, Floats, Integers, NodeId, mean_of_known_neighbors
from rbm_service.errors import InvalidRequestError, UnknownNodeError
from rbm_service.inference.features import (
    CsrRows,
    Features,
    Numbers,
    PaddedPair,
    check_lengths,
    graph_features,
    in_form,
    read_csr,
    read_matrix,
    read_padded,
)
from rbm_service.runtime.shapes import KnownRows, ModelInputs
from rbm_service.runtime.tensors import Tensors

PositionSource = Literal["cached", "neighbors", "supplied", "default"]

MAX_NEIGHBORS: Final = 65_536  # neighbour ids in one request: each costs a lookup and a gathered position


@dataclass(slots=True)
class NodeQuery:
    """The rows a caller asks about; every column is B long or absent. Arrays are as good as lists."""

    node_ids: list[NodeId] | Integers | None = None
    features: list[list[float]] | Numbers | CsrRows | PaddedPair | None = None
    neighbors: list[list[NodeId] | None] | None = None
    positions: list[list[float]] | Numbers | None = None

    def ids_of(self, rows: list[int]) -> list[NodeId]:
        """The ids of some rows, where there are ids at all."""
        if isinstance(self.node_ids, np.ndarray):
            return list(self.node_ids[rows].tolist())
        return [] if self.node_ids is None else [self.node_ids[row] for row in rows]


@dataclass(slots=True)
class PlacedRows:
    """Positions (B, P), and for each of the B rows where its position came from."""

    positions: Floats
    sources: list[PositionSource]


@dataclass(slots=True)
class EncodedRows:
    """Rows ready for the graph, by the names of its inputs or to be looked up, and where the position of each
    came from."""

    model_inputs: ModelInputs
    sources: list[PositionSource]

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self.sources)


def check_num_rows(column: str, num_rows: int, max_rows: int) -> None:
    """Refuse a column of no row, or of more than a request may have.

    Raises:
        InvalidRequestError: found and wanted.
    """
    if not 1 <= num_rows <= max_rows:
        raise InvalidRequestError.at(column, msg=f"found {num_rows} rows, wanted 1 to {max_rows}")


def encode(query: NodeQuery, bundle: Bundle, max_rows: int) -> EncodedRows:
    """Check a query and look up whatever it leaves to the bundle.

    Raises:
        InvalidRequestError: lengths, widths, ids or numbers that do not fit the bundle.
        UnknownNodeError: ids without a position, and nothing to compute one from.
    """
    nodes = bundle.nodes
    if (rows := _to_look_up(query, bundle, max_rows)) is not None:
        return rows
    B = _num_rows(query, max_rows)
    known = _known_rows(query, nodes, B)  # (B,), UNKNOWN where the bundle has no such node
    placed = _place(query, nodes, known)
    features = in_form(_features(query, bundle, known), bundle.manifest.features.form)
    if not isinstance(features, np.ndarray):
        check_lengths(features.lengths, bundle.manifest)
    return EncodedRows({**graph_features(features), "positions": placed.positions}, placed.sources)


def look_up(bundle: Bundle, rows: Integers) -> Tensors:
    """What the graph takes of known nodes, (B,): the features and positions that the bundle has of them."""
    features = in_form(bundle.nodes.features_of(rows), bundle.manifest.features.form)
    return {**graph_features(features), "positions": bundle.nodes.positions_of(rows)}


def _num_rows(query: NodeQuery, max_rows: int) -> int:
    columns = {
        "node_ids": query.node_ids,
        "features": query.features,
        "neighbors": query.neighbors,
        "positions": query.positions,
    }
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if not lengths:
        raise InvalidRequestError(f"give at least one of {', '.join(columns)}")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidRequestError(f"columns of one length wanted, found {found}")
    name, B = next(iter(lengths.items()))
    check_num_rows(name, B, max_rows)
    return B


def _known_rows(query: NodeQuery, nodes: NodeTable, B: int) -> Integers:
    if query.node_ids is None:
        return np.full(B, UNKNOWN, np.int64)
    _check_ids(query.node_ids, nodes, "node_ids")
    return nodes.rows_of(query.node_ids)


def _check_ids(ids: list[NodeId] | Integers, nodes: NodeTable, *loc: str | int) -> None:
    wanted = str if nodes.id_kind == "string" else int
    if isinstance(ids, np.ndarray):
        if wanted is str:
            raise InvalidRequestError.at(*loc, msg="ids of this model are strings")
        return
    for index, node_id in enumerate(ids):
        if type(node_id) is not wanted:
            kind = "string" if wanted is str else "integer"
            raise InvalidRequestError.at(*loc, index, msg=f"ids of this model are {kind}s")


def _to_look_up(query: NodeQuery, bundle: Bundle, max_rows: int) -> EncodedRows | None:
    """The rows of a query that names known nodes and leaves the rest to the bundle; None for any other, and
    where the bundle does not tell how long rows are that have to be padded."""
    nodes, features = bundle.nodes, bundle.nodes.features
    if query.node_ids is None or features is None:
        return None
    if query.features is not None or query.neighbors is not None or query.positions is not None:
        return None
    is_padded = bundle.manifest.features.form == "sparse"
    if is_padded and not isinstance(features, CsrFeatures):
        return None
    check_num_rows("node_ids", len(query.node_ids), max_rows)
    if nodes.ids is not None:  # where ids are row numbers, nothing else is found
        _check_ids(query.node_ids, nodes, "node_ids")
    rows, width = nodes.known_rows_of(query.node_ids), 0
    if rows is None:
        return None
    if is_padded and isinstance(features, CsrFeatures):
        width = check_lengths(features.lengths_of(np.asarray(rows)), bundle.manifest)
    source: PositionSource = "cached" if nodes.position_width else "default"
    return EncodedRows(KnownRows(rows, width), [source] * len(rows))


def _place(query: NodeQuery, nodes: NodeTable, known: Integers) -> PlacedRows:
    B, P = len(known), nodes.position_width
    neighbor_rows = None if query.neighbors is None else _neighbor_rows(query.neighbors, nodes)
    if query.positions is not None:
        return PlacedRows(read_matrix("positions", query.positions, P), ["supplied"] * B)
    if P == 0:
        return PlacedRows(np.zeros((B, 0), np.float32), ["default"] * B)
    if neighbor_rows is None:
        _refuse_unplaced(query, _unknown_rows(known))
        return PlacedRows(nodes.positions_of(known), ["cached"] * B)
    by_neighbors = np.array([rows is not None for rows in neighbor_rows])  # (B,)
    _refuse_unplaced(query, np.flatnonzero(~by_neighbors & (known == UNKNOWN)).tolist())
    means, num_known = mean_of_known_neighbors(
        nodes.positions, [rows for rows in neighbor_rows if rows is not None]
    )
    positions = np.empty((B, P), np.float32)
    positions[by_neighbors] = means
    positions[~by_neighbors] = nodes.positions_of(known[~by_neighbors])
    sources: list[PositionSource] = ["cached"] * B
    for row, count in zip(np.flatnonzero(by_neighbors).tolist(), num_known.tolist(), strict=True):
        sources[row] = "neighbors" if count else "default"
    return PlacedRows(positions, sources)


def _neighbor_rows(neighbors: list[list[NodeId] | None], nodes: NodeTable) -> list[Integers | None]:
    """Table rows of each node's neighbours, None where it names none; one lookup for all of them."""
    named = [ids or [] for ids in neighbors]
    sizes = [len(ids) for ids in named]
    if sum(sizes) > MAX_NEIGHBORS:
        raise InvalidRequestError.at(
            "neighbors", msg=f"found {sum(sizes)} ids, wanted at most {MAX_NEIGHBORS}"
        )
    for row, ids in enumerate(named):
        _check_ids(ids, nodes, "neighbors", row)
    rows = nodes.rows_of([node_id for ids in named for node_id in ids])
    shares = np.split(rows, np.cumsum(sizes)[:-1])
    return [None if ids is None else share for ids, share in zip(neighbors, shares, strict=True)]


def _unknown_rows(known: Integers) -> list[int]:
    if UNKNOWN not in known.tolist():  # for a few rows, quicker than any function of numpy
        return []
    return np.flatnonzero(known == UNKNOWN).tolist()


def _refuse_unplaced(query: NodeQuery, rows: list[int]) -> None:
    if rows and query.node_ids is None:
        raise InvalidRequestError(f"no node id, neighbors or position for {_listed(rows)}")
    if rows and query.node_ids is not None:
        raise UnknownNodeError(query.ids_of(rows))


def _features(query: NodeQuery, bundle: Bundle, known: Integers) -> Features:
    F = bundle.manifest.features.num_features
    if isinstance(query.features, CsrRows):
        return read_csr(query.features, F)
    if isinstance(query.features, PaddedPair):
        return read_padded(query.features, F)
    if query.features is not None:
        return read_matrix("features", query.features, F)
    if bundle.nodes.cached_features is None:
        raise InvalidRequestError.at("features", msg="required: this model caches no node features")
    if unknown := _unknown_rows(known):
        raise InvalidRequestError.at(
            "features", msg=f"required: no cached node features for {_listed(unknown)}"
        )
    return bundle.nodes.features_of(known)


def _listed(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"{len(rows)} of the rows ({shown}{', ...' if len(rows) > 5 else ''})"
