"""The column by which nodes are divided into those of training, validation and test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rbm_training.data.column_splits import WITHOUT_VALUE
from rbm_training.data.columns import without_nan
from rbm_training.data.graph import GraphError, Integers
from rbm_training.data.readers.arrays import NamedArrays
from rbm_training.data.readers.tables import ParquetTable, is_text
from rbm_training.errors import suggestion

_ARRAY_KINDS: Final = "iufbUM"
_OF_LABELS: Final = ("label", "split")


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """What the column is called, and whether it is the time of each node or its group."""

    name: str
    is_time: bool

    def ranks_in_tables(
        self, nodes: ParquetTable, labels: ParquetTable, labelled: npt.NDArray[np.int32], num_nodes: int
    ) -> Integers:
        """The ranks of all nodes, (N,), by a column of the nodes or of the labels.

        Args:
            labelled: the node of each row of the labels.

        Raises:
            GraphError: neither table has it, or its values have no order.
        """
        known = [*nodes.names, *labels.unlisted(*_OF_LABELS, *nodes.names)]
        if self.name not in known:
            raise self._missing(nodes.source, "column", known)
        column = nodes.column_or_none(self.name)
        if column is not None:
            return self._ranks(nodes.source, column)
        ranks = np.full(num_nodes, WITHOUT_VALUE, np.int64)
        ranks[labelled] = self._ranks(labels.source, labels.column_or_none(self.name))
        return ranks

    def ranks_in_arrays(self, arrays: NamedArrays, others: Iterable[str], num_nodes: int) -> Integers:
        """The ranks of all nodes, (N,), by an array.

        Args:
            others: keys of arrays that are something else.

        Raises:
            GraphError: it is not there, or of another shape.
        """
        if self.name not in arrays:
            raise self._missing(arrays.source, "array", sorted(set(arrays.names).difference(others)))
        values = arrays.get(self.name, _ARRAY_KINDS, (num_nodes,))
        if values.dtype.kind == "M":
            values = values.astype("M8[us]")  # Arrow has no months or hours
        return self._ranks(arrays.source, pa.chunked_array([pa.array(values)]))

    def _ranks(self, source: str, column: pa.ChunkedArray) -> Integers:
        """The place of each value among the different ones in rising order, `WITHOUT_VALUE` for null."""
        if self.is_time and is_text(column.type):
            column = self._times(source, column)
        column = without_nan(column)
        try:
            ranks: Integers = pc.rank(column, "ascending", tiebreaker="dense").to_numpy().astype(np.int64)
        except pa.ArrowNotImplementedError as error:
            wanted = "numbers, dates or times" if self.is_time else "strings or numbers"
            raise GraphError(source, f"{self.name} of type {column.type}", wanted) from error
        ranks[pc.is_null(column).to_numpy()] = WITHOUT_VALUE
        return ranks

    def _times(self, source: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            return column.cast(pa.timestamp("us"))
        except pa.ArrowInvalid as error:
            wanted = "times as 2024-05-31 or 2024-05-31T12:00:00"
            raise GraphError(source, f"{self.name} of strings ({error})", wanted) from error

    def _missing(self, source: str, what: str, known: Sequence[str]) -> GraphError:
        wanted = f"one of {', '.join(known)}{suggestion(self.name, known)}" if known else "one to divide by"
        return GraphError(source, f"no {what} {self.name} to divide nodes by", wanted)
