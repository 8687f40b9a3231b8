"""Between a request and the graph: which rows of the bundle it means, and what the caller brought in place of
what the bundle holds.

Everything a caller can get wrong is refused here, before its rows share a batch with anyone else's.
Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from rbm_bundle import Bundle, NodeTable
from rbm_bundle.degrees import DEGREE_FEATURES
from rbm_bundle.features import CsrFeatures
from rbm_bundle.nodes import UNKNOWN, Floats, Integers, NodeId, mean_of_known_neighbors
from rbm_service.errors import InvalidRequestError, UnknownNodeError, shortened
from rbm_service.inference.degrees import are_degrees, are_made_of_neighbors, with_features_of_neighbors
from rbm_service.inference.features import Features, check_lengths, graph_inputs, read_matrix
from rbm_service.inference.node_query import COLUMNS, NodeQuery
from rbm_service.inference.records import read_records
from rbm_service.runtime.record_graph import RecordGraph
from rbm_service.runtime.tensors import Tensors

PositionSource = Literal["cached", "neighbors", "supplied", "default"]
TableRows = list[int] | Integers

MAX_NEIGHBORS: Final = 65_536  # neighbour ids in one request: each costs a lookup and a gathered position


@dataclass(slots=True)
class RequestRows:
    """The rows of one request, ready to share a batch.

    Attributes:
        table_rows: the row of each node in the bundle's table, (B,); `UNKNOWN` where it has none.
        overrides: inputs of the graph that the caller brought for all B rows; a batch looks the others up.
        width: S; 0 where features are dense.
        sources: where the position of each row comes from.
        unknown: rows of the request, in order, that are left out of these because nothing is known of them.
        num_rows: B.
    """

    table_rows: TableRows
    overrides: Tensors
    width: int
    sources: list[PositionSource]
    unknown: Sequence[int] = ()
    num_rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_rows = len(self.sources)

    @property
    def num_asked(self) -> int:
        """Rows of the request, these and the unknown ones."""
        return self.num_rows + len(self.unknown)

    @property
    def answered(self) -> list[int]:
        """Which rows of the request these are, in order."""
        return sorted(set(range(self.num_asked)).difference(self.unknown))


def check_num_rows(column: str, num_rows: int, max_rows: int) -> None:
    """Refuse a column of no row, or of more than a request may have.

    Raises:
        InvalidRequestError: what was expected, and what came.
    """
    if not 1 <= num_rows <= max_rows:
        raise InvalidRequestError.mismatch(column, expected=f"1 to {max_rows} rows", got=num_rows)


def encode(
    query: NodeQuery, bundle: Bundle, max_rows: int, records: RecordGraph | None = None
) -> RequestRows:
    """Check a query, and find the rows of the bundle that it means.

    Args:
        records: what makes features of records, for bundles that take them.

    Raises:
        InvalidRequestError: lengths, widths, ids or numbers that do not fit the bundle.
        UnknownNodeError: ids without a position, and nothing to compute one from.
    """
    B, nodes = _num_rows(query, max_rows), bundle.nodes
    if query.records is not None:
        if query.features is not None:
            raise InvalidRequestError("give features or records, not both")
        features = read_records(query.records, records, bundle.manifest.features.form)
        query = replace(query, features=features, records=None)
    table_rows: TableRows
    if query.node_ids is None:
        table_rows, unknown = [UNKNOWN] * B, [*range(B)]
    else:
        table_rows, unknown = nodes.find(query.node_ids), []
        if UNKNOWN in table_rows:
            unknown = np.flatnonzero(np.asarray(table_rows) == UNKNOWN).tolist()
            _check_ids(query.node_ids, nodes, "node_ids")
            if query.on_unknown == "null" and (unanswerable := _unanswerable(query, bundle, unknown)):
                return _encode_others(query, bundle, max_rows, table_rows, unanswerable)
    positions, sources = _positions(query, nodes, table_rows, unknown)
    if query.neighbors is not None and are_made_of_neighbors(query, bundle):
        query = with_features_of_neighbors(query, bundle, table_rows)
    overrides, width = _features(query, bundle, table_rows, unknown)
    if positions is not None:
        overrides["positions"] = positions
    return RequestRows(table_rows, overrides, width, sources)


def _unanswerable(query: NodeQuery, bundle: Bundle, unknown: list[int]) -> list[int]:
    """Those of the unknown rows that nothing describes, or nothing places."""
    neighbors = query.neighbors
    if neighbors is not None and are_made_of_neighbors(query, bundle):
        return [row for row in unknown if neighbors[row] is None]
    if query.features is None and bundle.nodes.features is not None:
        return unknown
    if query.positions is not None or bundle.nodes.position_width == 0:
        return []
    return [row for row in unknown if neighbors is None or neighbors[row] is None]


def _encode_others(
    query: NodeQuery, bundle: Bundle, max_rows: int, table_rows: TableRows, unanswerable: list[int]
) -> RequestRows:
    """The rows that can be answered, as if nobody had asked for more; what is wrong in any row is refused."""
    _positions(query, bundle.nodes, table_rows, [])
    if query.features is not None or bundle.nodes.features is None:
        _features(query, bundle, table_rows, [])
    rows = RequestRows([], {}, 0, [], unanswerable)
    if answered := sorted(set(range(len(table_rows))).difference(unanswerable)):
        rows = replace(encode(query.at(answered), bundle, max_rows), unknown=unanswerable)
    return rows


def _num_rows(query: NodeQuery, max_rows: int) -> int:
    """B, the length of every column that there is."""
    columns = (query.node_ids, query.features, query.neighbors, query.positions, query.records)
    lengths = [len(column) for column in columns if column is not None]
    if not lengths:
        raise InvalidRequestError(f"give at least one of {', '.join(COLUMNS)}")
    B = lengths[0]
    if not 1 <= B <= max_rows or lengths.count(B) < len(lengths):
        present = [name for name, column in zip(COLUMNS, columns, strict=True) if column is not None]
        if lengths.count(B) < len(lengths):
            got = ", ".join(f"{name} of {length}" for name, length in zip(present, lengths, strict=True))
            raise InvalidRequestError.mismatch(expected="columns of one length", got=got)
        check_num_rows(present[0], B, max_rows)
    return B


def _check_ids(ids: list[NodeId] | Integers, nodes: NodeTable, *loc: str | int) -> None:
    """Refuse ids of another type than those of the model: none of them is ever found."""
    kind, expected = (str, "a string") if nodes.id_kind == "string" else (int, "an integer")
    for index, node_id in enumerate(ids.tolist() if isinstance(ids, np.ndarray) else ids):
        if type(node_id) is not kind:
            expected = f"{expected}, as are all ids of this model"
            raise InvalidRequestError.mismatch(*loc, index, expected=expected, got=shortened(node_id))


def _positions(
    query: NodeQuery, nodes: NodeTable, table_rows: TableRows, unknown: list[int]
) -> tuple[Floats | None, list[PositionSource]]:
    """Positions (B, P), None where all of them are looked up, and where each comes from."""
    B, P = len(table_rows), nodes.positions.shape[1]
    neighbor_rows = None if query.neighbors is None else _neighbor_rows(query.neighbors, nodes)
    if query.positions is not None:
        return read_matrix("positions", query.positions, P), ["supplied"] * B
    if P == 0:
        return np.zeros((B, 0), np.float32), ["default"] * B
    unplaced = unknown
    if query.neighbors is not None:
        unplaced = [row for row in unknown if query.neighbors[row] is None]
    if unplaced and query.node_ids is None:
        raise InvalidRequestError(f"no node id, neighbors or position for {_listed(unplaced)}")
    if unplaced:
        raise UnknownNodeError(np.array(query.node_ids, object)[unplaced].tolist())
    if neighbor_rows is None:
        return None, ["cached"] * B
    positions, num_known = mean_of_known_neighbors(nodes.positions, neighbor_rows)
    rows = np.asarray(table_rows)
    cached = (rows != UNKNOWN) & (num_known == 0)  # known itself, though none of its neighbours is
    positions[cached] = nodes.positions_of(rows[cached])
    sources = np.select([cached, num_known > 0], ["cached", "neighbors"], "default")
    return positions, sources.tolist()


def _neighbor_rows(neighbors: list[list[NodeId] | None], nodes: NodeTable) -> list[Integers]:
    """Table rows of each node's neighbours, none where it names none; one lookup for all of them."""
    named = [ids or [] for ids in neighbors]
    ends = np.cumsum([len(ids) for ids in named])
    if ends[-1] > MAX_NEIGHBORS:
        raise InvalidRequestError.mismatch("neighbors", expected=f"at most {MAX_NEIGHBORS} ids", got=ends[-1])
    rows = nodes.rows_of(list(chain.from_iterable(named)))
    if UNKNOWN in rows:
        for row, ids in enumerate(named):
            _check_ids(ids, nodes, "neighbors", row)
    return np.split(rows, ends[:-1])


def _features(
    query: NodeQuery, bundle: Bundle, table_rows: TableRows, unknown: list[int]
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The features that the caller brought, as inputs of the graph, none where they are looked up; and S."""
    cached, spec = bundle.nodes.features, bundle.manifest.features
    features: Features
    if isinstance(query.features, (np.ndarray, list)):
        features = read_matrix("features", query.features, spec.num_features)
    elif query.features is not None:
        features = query.features.read(spec.num_features)
    elif cached is None:
        raise InvalidRequestError.at(
            "features", msg=f"{_required(bundle)}: this model caches no node features"
        )
    elif unknown:
        msg = f"{_required(bundle)}: no cached node features for {_listed(unknown)}"
        raise InvalidRequestError.at("features", msg=msg)
    elif spec.form == "dense":
        return {}, 0
    elif isinstance(cached, CsrFeatures):
        return {}, check_lengths(cached.lengths_of(np.asarray(table_rows)), bundle.manifest)
    else:  # nothing tells how long the rows are before they are there
        features = cached.take(table_rows, axis=0)
    if spec.form == "dense":
        return graph_inputs(features, "dense"), 0
    lengths = np.count_nonzero(features, 1) if isinstance(features, np.ndarray) else features.lengths
    width = check_lengths(lengths, bundle.manifest)  # before they are padded
    return graph_inputs(features, "sparse"), width


def _required(bundle: Bundle) -> str:
    if are_degrees(bundle):
        return f"these ({', '.join(DEGREE_FEATURES)}), or neighbors to make them of, are required"
    return "required" if bundle.manifest.records is None else "these or records are required"


def _listed(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"{len(rows)} of the rows ({shown}{', ...' if len(rows) > 5 else ''})"
