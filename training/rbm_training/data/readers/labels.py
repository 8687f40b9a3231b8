"""Classes from a column of labels: integers or strings, null where a node has none."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from rbm_training.data.checks import check_labels, check_text
from rbm_training.data.columns import without_nan
from rbm_training.data.graph import UNLABELLED, GraphError, Integers
from rbm_training.data.readers.tables import ParquetTable, is_text


def read_classes(
    table: ParquetTable, rows: npt.NDArray[np.int32], num_nodes: int
) -> tuple[Integers, tuple[str, ...]]:
    """Class number of each node (N,), and the classes' names: the different labels in rising order.

    Args:
        rows: the node of each row of the table.

    Raises:
        GraphError: no label at all, numbers that are no classes, or several classes a node.
    """
    column = table.column_or_none("label")
    if column is None:
        raise GraphError(table.source, f"no column label among {', '.join(table.names)}", "label")
    column = _discrete(table.source, column)
    given = pc.is_valid(column).to_numpy()
    labels = np.full(num_nodes, UNLABELLED, np.int64)
    different, labels[rows[given]] = np.unique(_values(table.source, column.drop_null()), return_inverse=True)
    if different.dtype.kind == "i" and different.min(initial=0) < 0:
        wanted = "integers from 0, null for an unlabelled node, or strings"
        raise GraphError(table.source, f"label {different[0]}", wanted)
    return labels, check_labels(table.source, "label", labels, [str(value) for value in different])


def _discrete(source: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Labels as integers or strings; whole numbers with gaps are floats in a data frame."""
    kind = column.type
    if kinds.is_boolean(kind):
        return column.cast(pa.string())
    if is_text(kind) and pc.any(blank := pc.equal(pc.utf8_trim_whitespace(column), "")).as_py():
        row = pc.index(blank, True).as_py()
        wanted = "the name of a class, or null for an unlabelled node"
        raise GraphError(source, f"label[{row}] = {column[row].as_py()!r}", wanted)
    if kinds.is_null(kind) or kinds.is_integer(kind) or is_text(kind):
        return column
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        wanted = "one class a node; several (multi-label) are not learnt"
        raise GraphError(source, f"label of type {kind}", wanted)
    if kinds.is_floating(kind):
        return _whole(source, column.cast(pa.float64()))
    raise GraphError(source, f"label of type {kind}", "integers or strings, a class each")


def _whole(source: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = without_nan(column)
    broken = pc.fill_null(pc.or_(pc.not_equal(pc.floor(column), column), pc.is_inf(column)), False)
    if pc.any(broken).as_py():
        row = pc.index(broken, True).as_py()
        wanted = "classes, as integers or strings; numbers with fractions (regression) are not learnt"
        raise GraphError(source, f"label[{row}] = {column[row].as_py()}", wanted)
    return column.cast(pa.int64())


def _values(source: str, column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if kinds.is_null(column.type):
        return np.array([], np.int64)
    if kinds.is_integer(column.type):
        return np.asarray(column.to_numpy())
    return np.array(check_text(source, "label", column.cast(pa.large_binary()).to_pylist()), np.str_)
