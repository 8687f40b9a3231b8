"""Records as callers send them → features in the form that the model takes.

Dimension letters: B records, F features.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from rbm_bundle.features import CsrFeatures, csr_from_dense
from rbm_bundle.manifest_parts import FeatureForm
from rbm_bundle.nodes import MAX_MAGNITUDE, Floats
from rbm_bundle.records import Record, RecordError, Value, columns_of, encode_columns
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.features import CsrRows
from rbm_service.runtime.record_graph import RecordGraph

MAX_FIELD_LENGTH: Final = 2**16  # characters of a string, or of all tags of a list and one for each


def read_records(records: Sequence[Record], graph: RecordGraph | None, form: FeatureForm) -> Floats | CsrRows:
    """The features (B, F) of some records.

    Raises:
        InvalidRequestError: the model takes no records; or a field that it does not have, that is too long,
            or of another kind.
    """
    if graph is None:
        raise InvalidRequestError.at("records", msg="this model takes no records, but features")
    columns = graph.spec.columns
    try:
        values = columns_of(records, [column.name for column in columns])
        for name, column in values.items():
            _check_lengths(name, column)
        inputs = encode_columns(values, columns)
    except RecordError as error:
        raise InvalidRequestError.at("records", error.row, error.field, msg=error.said) from None
    parts = _checked(graph.features(inputs))
    if form == "dense":
        return np.concatenate(list(parts))
    return _below_each_other([csr_from_dense(part) for part in parts])


def _check_lengths(name: str, values: Sequence[Value]) -> None:
    for row, value in enumerate(values):
        if isinstance(value, str | list):
            length = len(value)
            if isinstance(value, list):
                length += sum(len(tag) for tag in value if isinstance(tag, str))
            if length > MAX_FIELD_LENGTH:
                raise RecordError(row, name, f"{length}", f"at most {MAX_FIELD_LENGTH} characters")


def _checked(parts: Iterable[Floats]) -> Iterator[Floats]:
    """The parts; refuses numbers so far from those of training that the model cannot work with them."""
    num_before = 0
    for features in parts:
        outside = ~(np.abs(features) <= MAX_MAGNITUDE).all(axis=1)
        if outside.any():
            msg = "a number too far from all that the model was trained on"
            raise InvalidRequestError.at("records", num_before + int(outside.argmax()), msg=msg)
        num_before += len(features)
        yield features


def _below_each_other(parts: Sequence[CsrFeatures]) -> CsrRows:
    lengths = np.concatenate([part.lengths for part in parts])
    return CsrRows(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
