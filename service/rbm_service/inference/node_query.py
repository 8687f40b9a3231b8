"""What a caller asks, column by column, in whatever form it came."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from rbm_bundle.nodes import Integers, NodeId
from rbm_bundle.records import Record
from rbm_service.inference.features import CsrRows, Matrix, PaddedPair

OnUnknown = Literal["error", "null"]

COLUMNS: Final = ("node_ids", "features", "neighbors", "positions", "records")


@dataclass(slots=True)
class NodeQuery:
    """The rows a caller asks about; every column is B long or absent. Arrays are as good as lists.

    A row whose id is unknown and that brings nothing to answer it by is refused with all others, or left out
    where `on_unknown` is `null`.
    """

    node_ids: list[NodeId] | Integers | None = None
    features: Matrix | CsrRows | PaddedPair | None = None
    neighbors: list[list[NodeId] | None] | None = None
    positions: Matrix | None = None
    records: Sequence[Record] | None = None
    on_unknown: OnUnknown = "error"

    def at(self, rows: Sequence[int]) -> "NodeQuery":
        """The query about some of the rows alone; its columns have been checked against each other."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        return replace(self, **{name: _at(it, rows) for name, it in columns.items() if it is not None})


def _at(column: Any, rows: Sequence[int]) -> Any:  # noqa: ANN401 - of the type that the column has
    if isinstance(column, CsrRows | PaddedPair):
        return column.at(rows)
    return column[list(rows)] if isinstance(column, np.ndarray) else [column[row] for row in rows]
