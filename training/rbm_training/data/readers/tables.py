"""One table, its columns checked for type and gaps as they are asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from rbm_training.data.checks import check_text
from rbm_training.data.graph import GraphError, Integers


@dataclass(frozen=True, slots=True)
class Lists:
    """A column of lists. Shapes: lengths (rows,), values (sum of lengths,)."""

    lengths: Integers
    values: npt.NDArray[Any]


class ParquetTable:
    """The columns of one table; every mistake is told with the file, the column and the row."""

    def __init__(self, source: str, table: pa.Table) -> None:
        self.source = source
        self._table = table

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return list(self._table.column_names)

    def unlisted(self, *known: str) -> list[str]:
        """Names of the columns that are not known."""
        return [name for name in self.names if name not in known]

    def with_columns(self, *names: str) -> "ParquetTable":
        """The same table, of these columns those that it has."""
        return ParquetTable(self.source, self._table.select([name for name in names if name in self.names]))

    def refuse_unlisted(self, *known: str) -> None:
        """Refuse a column that nobody reads."""
        if unlisted := self.unlisted(*known):
            shown = ", ".join(name if name == name.strip() else repr(name) for name in unlisted)
            raise self._error(f"unknown columns {shown}", ", ".join(known))

    def select(self, names: list[str]) -> pa.Table:
        """Some columns as they are."""
        return self._table.select(names)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A column of numbers or booleans (rows,)."""
        column = self._column(name)
        if not _is_number(column.type):
            raise self._error(f"{name} of type {column.type}", "numbers")
        return _writable(column)

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
        return Lists(lengths, _writable(values))

    def column_or_none(self, name: str) -> pa.ChunkedArray | None:
        """A column as it is, with its nulls; None where there is none."""
        return decoded(self._table.column(name)) if name in self.names else None

    def discrete(self, name: str) -> npt.NDArray[Any]:
        """A column of integers or strings (rows,), as int64 or str."""
        column = self._column(name)
        if kinds.is_integer(column.type):
            return _writable(self._cast(name, column, pa.int64()))
        if not is_text(column.type):
            raise self._error(f"{name} of type {column.type}", "integers or strings")
        return np.array(check_text(self.source, name, column.cast(pa.large_binary()).to_pylist()), np.str_)

    def rows_of(self, name: str, node_ids: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Row in `node_ids` (N,) of each id in a column: (rows,)."""
        column = self._column(name)
        numbered = node_ids.dtype.kind == "i"
        if len(column) and not (kinds.is_integer(column.type) if numbered else is_text(column.type)):
            wanted = f"{'integers' if numbered else 'strings'}, as the nodes' ids are"
            raise self._error(f"{name} of type {column.type}", wanted)
        known = pa.array(node_ids)
        rows = pc.index_in(self._cast(name, column, known.type), value_set=known)
        if rows.null_count:
            row = pc.index(pc.is_null(rows), True).as_py()
            more = f", and so in {rows.null_count:,} of {len(rows):,} rows" if rows.null_count > 1 else ""
            raise self._error(
                f"{name}[{row}] = {column[row].as_py()!r}, which is no node{more}", "ids of nodes"
            )
        return np.asarray(rows.to_numpy())

    def member_of(self, name: str, values: tuple[str, ...]) -> list[npt.NDArray[np.bool_]]:
        """For each of the values, which rows (rows,) of a column of strings have it; null has none."""
        column = decoded(self._table.column(name))
        if not is_text(column.type):
            raise self._error(f"{name} of type {column.type}", "strings")
        strange = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(values))))
        if pc.any(strange).as_py():
            row = pc.index(strange, True).as_py()
            raise self._error(f"{name}[{row}] = {column[row].as_py()!r}", f"{', '.join(values)} or null")
        return [pc.fill_null(pc.equal(column, value), False).to_numpy() for value in values]

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.names:
            raise self._error(f"no column {name} among {', '.join(self.names)}", name)
        column = decoded(self._table.column(name))
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


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary-encoded column as its values: that is how data frames write categories."""
    return column.cast(column.type.value_type) if kinds.is_dictionary(column.type) else column


def _writable(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Values as an array of their own: Arrow's memory is read-only, which torch and SciPy do not take."""
    return np.require(column.to_numpy(), requirements="W")


def _is_number(kind: pa.DataType) -> bool:
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of strings."""
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))
