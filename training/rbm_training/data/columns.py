"""Columns of a table of nodes as they are: what each of them is, and its values.

Dimension letter: N nodes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from rbm_bundle.golden_records import FieldValue
from rbm_bundle.record_spec import ColumnKind
from rbm_bundle.records import Value
from rbm_training.config import FeaturesConfig
from rbm_training.data.graph import GraphError, Integers
from rbm_training.errors import suggestion

if TYPE_CHECKING:  # which are made of columns
    from rbm_training.data.column_features import ColumnFeatures

MANY_CATEGORIES: Final = 100  # different strings, beyond which they are no categories if they have words
FEW_NODES: Final = 2  # nodes a category at least, on average

IPC_OPTIONS: Final = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V5)


@dataclass(frozen=True, eq=False)  # without slots, for what is cached
class RawColumns:
    """The columns of N nodes, and what the experiment says of them.

    Attributes:
        source: the file, for messages.
        fits: how the columns became features, by the observed nodes that they were fitted on, as bytes.
    """

    source: str
    table: pa.Table
    config: FeaturesConfig = field(default_factory=FeaturesConfig)
    fits: "dict[bytes, ColumnFeatures]" = field(default_factory=dict, init=False, repr=False)

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return list(self.table.column_names)

    def values(self, name: str) -> list[Value]:
        """A column, one value a node; None where it is missing."""
        return cast(list[Value], self.table.column(name).to_pylist())

    def kind(self, name: str, nodes: Integers) -> ColumnKind:
        """What a column is: as the experiment says, or as its type says, or its values at some nodes.

        Raises:
            GraphError: it is of a type of which nothing can be learnt.
        """
        said = self.config.columns.get(name)
        if said is not None and said != "drop":
            return said
        column = self.table.column(name)
        kind = kind_of_type(column.type)
        if kind is None:
            told = "no value" if kinds.is_null(column.type) else f"type {column.type}"
            raise self.error(f"column {name} of {told}", f'another, or {name} = "drop" in [features.columns]')
        return _kind_of_strings(column.take(pa.array(nodes)).to_pylist()) if kind == "text" else kind

    def records(self, nodes: Integers) -> list[dict[str, FieldValue]]:
        """Some nodes as a caller of the service would write them in JSON."""
        rows = self.table.take(pa.array(nodes)).to_pylist()
        return [{name: _as_json(value) for name, value in row.items()} for row in rows]

    @cached_property
    def sha256(self) -> str:
        """Digest of the columns and of what the experiment says of them."""
        said = self.config.model_dump_json().encode()
        return hashlib.sha256(said + self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The table as a stream of Arrow."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema, options=IPC_OPTIONS) as stream:
            stream.write_table(self.table)
        return cast(bytes, sink.getvalue().to_pybytes())

    def error(self, found: str, wanted: str) -> GraphError:
        """What is wrong with the columns."""
        return GraphError(self.source, found, wanted)


def raw_columns(source: str, table: pa.Table, config: FeaturesConfig) -> RawColumns:
    """The columns of a table, but for those that are dropped.

    Raises:
        GraphError: the experiment speaks of a column that is not there, or drops all.
    """
    for name in config.columns:
        if name not in table.column_names:
            hint = suggestion(name, table.column_names)
            raise GraphError(
                source,
                f"no column {name}",
                f"the columns of [features], one of {', '.join(table.column_names)}{hint}",
            )
    kept = [name for name in table.column_names if config.columns.get(name) != "drop"]
    if not kept or not table.num_rows:
        raise GraphError(source, f"{table.num_rows} nodes and {len(kept)} columns", "at least one of each")
    arrays = [_simplified(source, name, table.column(name)) for name in kept]
    return RawColumns(source, pa.table(dict(zip(kept, arrays, strict=True))), config)


def from_bytes(source: str, content: npt.NDArray[np.uint8], config: FeaturesConfig) -> RawColumns:
    """The columns of which `to_bytes` was asked."""
    with pa.ipc.open_stream(pa.py_buffer(content.tobytes())) as stream:
        return RawColumns(source, stream.read_all(), config)


def are_plain_numbers(table: pa.Table) -> bool:
    """Whether all columns are numbers without a gap, which need nothing done to them."""
    return all(
        kind_of_type(_value_type(column.type)) == "number"
        and not kinds.is_decimal(_value_type(column.type))
        and without_nan(column).null_count == 0
        for column in table.columns
    )


def kind_of_type(kind: pa.DataType) -> ColumnKind | None:
    """What a column of some type is, as long as its values do not say otherwise; None for no features."""
    if kinds.is_dictionary(kind):
        return "category" if kind_of_type(kind.value_type) in ("text", "number") else None
    if kinds.is_boolean(kind) or kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind):
        return "number"
    if kinds.is_timestamp(kind) or kinds.is_date(kind):
        return "time"
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return "text"
    is_list = kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
    return "tags" if is_list and kind_of_type(_value_type(kind.value_type)) == "text" else None


def _kind_of_strings(values: Sequence[str | None]) -> ColumnKind:
    """Texts are many different strings that mostly have several words; everything else is categories."""
    strings = [value for value in values if value]
    different = set(strings)
    if len(different) <= MANY_CATEGORIES and len(different) * FEW_NODES <= len(strings):
        return "category"
    num_words = sum(len(value.split()) for value in strings)
    return "text" if num_words >= 2 * len(strings) else "category"


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if kinds.is_dictionary(kind) else kind


def _simplified(source: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimals as floats, NaN as a gap, and times in microseconds of UTC, or of no zone."""
    kind = column.type
    try:
        if kinds.is_decimal(kind):
            column = column.cast(pa.float64())
        elif kinds.is_timestamp(kind) or kinds.is_date(kind):
            column = column.cast(pa.timestamp("us"), safe=False)
        return pa.chunked_array([without_nan(column).combine_chunks()])
    except pa.ArrowInvalid as error:
        raise GraphError(source, f"column {name} of {kind} ({error})", "values that fit 64 bits") from error


def without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with null for NaN, which data frames write where a number is missing."""
    return pc.if_else(pc.is_nan(column), None, column) if kinds.is_floating(column.type) else column


def _as_json(value: object) -> FieldValue:
    return value.isoformat() if hasattr(value, "isoformat") else cast(FieldValue, value)
