"""The types of ids and labels in CSV, which says none.

`007` is a name and no seven, and an id must be of one kind in all tables: so these columns are read as text,
and are numbers only where every one of them is written as numbers are.
"""

from collections.abc import Collection, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

IDS: Final = ("node_id", "source", "target")
AS_TEXT: Final = {name: pa.string() for name in (*IDS, "label", "split")}
_INTEGER: Final = r"^(0|-?[1-9][0-9]{0,18})$"
_NUMBER: Final = r"^(nan|NaN|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)$"


def with_types(tables: Mapping[str, pa.Table], written: Collection[str]) -> dict[str, pa.Table]:
    """Give ids and labels their types.

    Args:
        written: names of the tables that were read from CSV.
    """
    csv_ids = [column for name in written for column in _columns(tables[name], IDS)]
    other_ids = [column for name in tables.keys() - set(written) for column in _columns(tables[name], IDS)]
    numbered = all(map(_is_integers, csv_ids)) and all(pa.types.is_integer(it.type) for it in other_ids)
    typed = dict(tables)
    for name in written:
        for column in typed[name].column_names:
            if column in IDS and numbered:
                typed[name] = _cast(typed[name], column, pa.int64())
            elif column == "label":
                typed[name] = _cast(typed[name], column, _label_type(typed[name][column]))
    return typed


def _columns(table: pa.Table, names: Collection[str]) -> list[pa.ChunkedArray]:
    return [table[name] for name in names if table.column_names.count(name) == 1]


def _is_integers(column: pa.ChunkedArray) -> bool:
    try:
        return _all_match(column, _INTEGER) and column.cast(pa.int64()) is not None
    except pa.ArrowInvalid:  # of nineteen digits, not all numbers are in range
        return False


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py())


def _label_type(column: pa.ChunkedArray) -> pa.DataType:
    if _is_integers(column):
        return pa.int64()
    return pa.float64() if _all_match(column, _NUMBER) else pa.string()


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, name, table[name].cast(kind))
