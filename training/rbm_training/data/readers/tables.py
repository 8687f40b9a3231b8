"""One Parquet table, its columns checked for type and gaps as they are asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from rbm_training.data.checks import check_text
from rbm_training.data.graph import GraphError, Integers


@dataclass(frozen=True, slots=True)
class Lists:
    """A column of lists. Shapes: lengths (rows,), values (sum of lengths,)."""

    lengths: Integers
    values: npt.NDArray[Any]


class ParquetTable:
    """The columns of one `.parquet`; every mistake is told with the file, the column and the row."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            GraphError: there is no such file, or it is damaged.
        """
        self.source = str(path)
        if not path.is_file():
            raise GraphError(self.source, "no file", "a Parquet table")
        try:
            with pq.ParquetFile(path) as file:
                self._table = file.read()
        except Exception as error:  # the unit of work is this file, and each codec fails its own way
            raise self._error(f"no readable Parquet table ({error})", "one") from error
        if len(set(self.names)) < len(self.names):
            raise self._error(f"columns {', '.join(self.names)}", "different names")

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return list(self._table.column_names)

    def refuse_unlisted(self, *known: str) -> None:
        """Refuse a column that nobody reads."""
        if unlisted := [name for name in self.names if name not in known]:
            raise self._error(f"unknown columns {', '.join(unlisted)}", ", ".join(known))

    def select(self, names: list[str]) -> pa.Table:
        """Some columns as they are."""
        return self._table.select(names)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A column of numbers or booleans (rows,)."""
        column = self._column(name)
        if not _is_number(column.type):
            raise self._error(f"{name} of type {column.type}", "numbers")
        return np.asarray(column.to_numpy())

    def lists(self, name: str) -> Lists:
        """A column of lists of numbers."""
        column = self._column(name)
        is_list = (
            kinds.is_list(column.type)
            or kinds.is_large_list(column.type)
            or kinds.is_fixed_size_list(column.type)
        )
        if not is_list or not _is_number(column.type.value_type):
            raise self._error(f"{name} of type {column.type}", "lists of numbers")
        lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
        values = pc.list_flatten(column)
        if values.null_count:
            first = pc.index(pc.is_null(values), True).as_py()
            row = int(np.searchsorted(np.cumsum(lengths), first, side="right"))
            raise self._error(f"null in {name}[{row}]", "a number in every place")
        return Lists(lengths, np.asarray(values.to_numpy()))

    def discrete(self, name: str) -> npt.NDArray[Any]:
        """A column of integers or strings (rows,), as int64 or str."""
        column = self._column(name)
        if kinds.is_integer(column.type):
            return np.asarray(self._cast(name, column, pa.int64()).to_numpy())
        if not _is_text(column.type):
            raise self._error(f"{name} of type {column.type}", "integers or strings")
        return np.array(check_text(self.source, name, column.cast(pa.large_binary()).to_pylist()), np.str_)

    def rows_of(self, name: str, node_ids: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Row in `node_ids` (N,) of each id in a column: (rows,)."""
        column = self._column(name)
        numbered = node_ids.dtype.kind == "i"
        if not (kinds.is_integer(column.type) if numbered else _is_text(column.type)):
            wanted = f"{'integers' if numbered else 'strings'}, as the nodes' ids are"
            raise self._error(f"{name} of type {column.type}", wanted)
        known = pa.array(node_ids)
        rows = pc.index_in(self._cast(name, column, known.type), value_set=known)
        if rows.null_count:
            row = pc.index(pc.is_null(rows), True).as_py()
            raise self._error(f"{name}[{row}] = {column[row].as_py()!r}, which is no node", "ids of nodes")
        return np.asarray(rows.to_numpy())

    def member_of(self, name: str, values: tuple[str, ...]) -> list[npt.NDArray[np.bool_]]:
        """For each of the values, which rows (rows,) of a column of strings have it; null has none."""
        column = _decoded(self._table.column(name))
        if not _is_text(column.type):
            raise self._error(f"{name} of type {column.type}", "strings")
        strange = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(values))))
        if pc.any(strange).as_py():
            row = pc.index(strange, True).as_py()
            raise self._error(f"{name}[{row}] = {column[row].as_py()!r}", f"{', '.join(values)} or null")
        return [pc.fill_null(pc.equal(column, value), False).to_numpy() for value in values]

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.names:
            raise self._error(f"no column {name} among {', '.join(self.names)}", name)
        column = _decoded(self._table.column(name))
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise self._error(f"{name}[{row}] = null", "a value in every row")
        return column

    def _cast(self, name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
        try:
            return column.cast(kind)
        except pa.ArrowInvalid as error:
            raise self._error(f"{name} that does not fit {kind} ({error})", f"{kind}") from error

    def _error(self, found: str, wanted: str) -> GraphError:
        return GraphError(self.source, found, wanted)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary-encoded column as its values: that is how data frames write categories."""
    return column.cast(column.type.value_type) if kinds.is_dictionary(column.type) else column


def _is_number(kind: pa.DataType) -> bool:
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))
