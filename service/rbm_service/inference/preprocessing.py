"""Between a request and the graph: which rows of the bundle it means, and what the caller brought in place of
what the bundle holds.

Everything a caller can get wrong is refused here, before its rows share a batch with anyone else's.
Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from rbm_bundle import Bundle, NodeTable
from rbm_bundle.features import CsrFeatures
from rbm_bundle.nodes import UNKNOWN, Floats, Integers, NodeId, mean_of_known_neighbors
from rbm_service.errors import InvalidRequestError, UnknownNodeError
from rbm_service.inference.features import (
    CsrRows,
    Matrix,
    PaddedPair,
    check_lengths,
    graph_features,
    in_form,
    read_features,
    read_matrix,
)
from rbm_service.runtime.tensors import Tensors

PositionSource = Literal["cached", "neighbors", "supplied", "default"]
TableRows = list[int] | Integers

MAX_NEIGHBORS: Final = 65_536  # neighbour ids in one request: each costs a lookup and a gathered position


@dataclass(slots=True)
class NodeQuery:
    """The rows a caller asks about; every column is B long or absent. Arrays are as good as lists."""

    node_ids: list[NodeId] | Integers | None = None
    features: Matrix | CsrRows | PaddedPair | None = None
    neighbors: list[list[NodeId] | None] | None = None
    positions: Matrix | None = None

    def ids_of(self, rows: list[int]) -> list[NodeId]:
        """The ids of some rows, where there are ids at all."""
        if isinstance(self.node_ids, np.ndarray):
            return list(self.node_ids[rows].tolist())
        return [] if self.node_ids is None else [self.node_ids[row] for row in rows]


@dataclass(slots=True)
class RequestRows:
    """The rows of one request, ready to share a batch.

    Attributes:
        table_rows: the row of each node in the bundle's table, (B,); `UNKNOWN` where it has none.
        overrides: inputs of the graph that the caller brought for all B rows; a batch looks the others up.
        width: S; 0 where features are dense.
        sources: where the position of each row comes from.
    """

    table_rows: TableRows
    overrides: Tensors
    width: int
    sources: list[PositionSource]

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self.sources)


def check_num_rows(column: str, num_rows: int, max_rows: int) -> None:
    """Refuse a column of no row, or of more than a request may have.

    Raises:
        InvalidRequestError: what was expected, and what came.
    """
    if not 1 <= num_rows <= max_rows:
        raise InvalidRequestError.at(column, msg=f"found {num_rows} rows, wanted 1 to {max_rows}")


def encode(query: NodeQuery, bundle: Bundle, max_rows: int) -> RequestRows:
    """Check a query, and find the rows of the bundle that it means.

    Raises:
        InvalidRequestError: lengths, widths, ids or numbers that do not fit the bundle.
        UnknownNodeError: ids without a position, and nothing to compute one from.
    """
    nodes = bundle.nodes
    B = _num_rows(query, max_rows)
    table_rows = _table_rows(query, nodes, B)
    unknown = _unknown_rows(table_rows) if UNKNOWN in table_rows else []
    positions, sources = _place(query, nodes, table_rows, unknown)
    overrides, width = _features(query, bundle, table_rows, unknown)
    if positions is not None:
        overrides["positions"] = positions
    return RequestRows(table_rows, overrides, width, sources)


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


def _table_rows(query: NodeQuery, nodes: NodeTable, B: int) -> TableRows:
    if query.node_ids is None:
        return [UNKNOWN] * B
    if nodes.ids is not None or isinstance(query.node_ids, np.ndarray):
        _check_ids(query.node_ids, nodes, "node_ids")
        return nodes.find(query.node_ids)
    rows = nodes.find(query.node_ids)
    if UNKNOWN in rows:  # where ids are row numbers, nothing of another type is found
        _check_ids(query.node_ids, nodes, "node_ids")
    return rows


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


def _place(
    query: NodeQuery, nodes: NodeTable, table_rows: TableRows, unknown: list[int]
) -> tuple[Floats | None, list[PositionSource]]:
    """Positions (B, P), None where all of them are looked up, and where each comes from."""
    B, P = len(table_rows), nodes.position_width
    neighbor_rows = None if query.neighbors is None else _neighbor_rows(query.neighbors, nodes)
    if query.positions is not None:
        return read_matrix("positions", query.positions, P), ["supplied"] * B
    if P == 0:
        return np.zeros((B, 0), np.float32), ["default"] * B
    if neighbor_rows is None:
        _refuse_unplaced(query, unknown)
        return None, ["cached"] * B
    _refuse_unplaced(query, [row for row in unknown if neighbor_rows[row] is None])
    return _place_by_neighbors(nodes, table_rows, neighbor_rows)


def _place_by_neighbors(
    nodes: NodeTable, table_rows: TableRows, neighbor_rows: list[Integers | None]
) -> tuple[Floats, list[PositionSource]]:
    """The mean of known neighbours; a known node of which no neighbour is known keeps its cached position."""
    B = len(table_rows)
    known = np.asarray(table_rows) != UNKNOWN
    asked = np.array([rows is not None for rows in neighbor_rows])  # (B,)
    means, counts = mean_of_known_neighbors(
        nodes.positions, [rows for rows in neighbor_rows if rows is not None]
    )
    found = np.zeros(B, np.int64)
    found[asked] = counts
    positions = np.zeros((B, nodes.position_width), np.float32)
    positions[asked] = means
    cached = known & (found == 0)
    positions[cached] = nodes.positions_of(np.asarray(table_rows)[cached])
    sources: list[PositionSource] = [
        "neighbors" if count else "cached" if is_known else "default"
        for count, is_known in zip(found.tolist(), known.tolist(), strict=True)
    ]
    return positions, sources


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
    rows = nodes.rows_of(list(chain.from_iterable(named)))
    shares = np.split(rows, np.cumsum(sizes)[:-1])
    return [None if ids is None else share for ids, share in zip(neighbors, shares, strict=True)]


def _unknown_rows(table_rows: TableRows) -> list[int]:
    return np.flatnonzero(np.asarray(table_rows) == UNKNOWN).tolist()


def _refuse_unplaced(query: NodeQuery, rows: list[int]) -> None:
    if rows and query.node_ids is None:
        raise InvalidRequestError(f"no node id, neighbors or position for {_listed(rows)}")
    if rows:
        raise UnknownNodeError(query.ids_of(rows))


def _features(
    query: NodeQuery, bundle: Bundle, table_rows: TableRows, unknown: list[int]
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The features that the caller brought, as inputs of the graph, none where they are looked up; and S."""
    nodes, spec = bundle.nodes, bundle.manifest.features
    if query.features is not None:
        features = in_form(read_features(query.features, spec.num_features), spec.form)
    elif nodes.features is None:
        raise InvalidRequestError.at("features", msg="required: this model caches no node features")
    elif unknown:
        raise InvalidRequestError.at(
            "features", msg=f"required: no cached node features for {_listed(unknown)}"
        )
    elif spec.form == "dense":
        return {}, 0
    elif isinstance(nodes.features, CsrFeatures):
        return {}, check_lengths(nodes.features.lengths_of(np.asarray(table_rows)), bundle.manifest)
    else:  # nothing tells how long the rows are before they are there
        features = in_form(nodes.features_of(table_rows), spec.form)
    if isinstance(features, np.ndarray):
        return graph_features(features), 0
    width = check_lengths(features.lengths, bundle.manifest)
    return graph_features(features), width


def _listed(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"{len(rows)} of the rows ({shown}{', ...' if len(rows) > 5 else ''})"
