"""Raw records as tensors: one for each field, B values."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rbm_bundle.manifest import Manifest
from rbm_bundle.record_spec import RecordColumn
from rbm_bundle.records import Record, Value
from rbm_service.api.v2.responses import TensorMetadata
from rbm_service.errors import InvalidRequestError

PREFIX: Final = "records."
FREE: Final = -1


def record_inputs(manifest: Manifest) -> dict[str, TensorMetadata]:
    """The tensors of a model's records, none where it takes no records."""
    columns = () if manifest.records is None else manifest.records.columns
    inputs = (
        TensorMetadata(
            name=f"{PREFIX}{column.name}",
            datatype="FP32" if column.kind == "number" else "BYTES",
            shape=(FREE,),
        )
        for column in columns
    )
    return {tensor.name: tensor for tensor in inputs}


def records_of(tensors: Mapping[str, Sequence[Any]], manifest: Manifest) -> list[Record] | None:
    """The records of which some tensors are the fields, None where there is none among them.

    Raises:
        InvalidRequestError: tensors of different lengths.
    """
    known = () if manifest.records is None else manifest.records.columns
    columns = [column for column in known if f"{PREFIX}{column.name}" in tensors]
    if not columns:
        return None
    fields = [_values(column, tensors[f"{PREFIX}{column.name}"]) for column in columns]
    if len(set(map(len, fields))) > 1:
        got = ", ".join(
            f"{column.name} of {len(field)}" for column, field in zip(columns, fields, strict=True)
        )
        raise InvalidRequestError.mismatch("inputs", expected="fields of one length", got=got)
    names = [column.name for column in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*fields, strict=True)]


def _values(column: RecordColumn, tensor: Sequence[Any]) -> list[Value]:
    """The values of a field; one that is missing is NaN, or an empty string. Tags are lines."""
    if column.kind == "number":
        return [None if number != number else float(number) for number in tensor]
    if column.kind == "tags":
        return [text.split("\n") for text in tensor]
    return list(tensor)
