"""An ONNX file before it is trusted: what its operators are, and whether all of its data lie within it.

The runtime does what a graph says and reads what it points to, so nothing but operators of the standard and
data in the file are let through to it. The protobuf is walked here, by its wire format alone, wherever it may
hold an operator or a tensor; the rest is skipped by length. What another reader might take in another way (a
repeated field, one of an unexpected type, an overlong number) is looked at each time or refused.
"""

import mmap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from rbm_bundle.errors import BundleError

ALLOWED_DOMAINS: Final = frozenset({b"", b"ai.onnx"})  # two names of one thing
# What a graph of records may hold besides: the standard's operators on categories, and one that splits text.
RECORD_DOMAINS: Final = frozenset({b"ai.onnx.ml", b"com.microsoft"})
OPERATORS_OF: Final[Mapping[bytes, frozenset[bytes]]] = {b"com.microsoft": frozenset({b"Tokenizer"})}
MAX_FIELDS: Final = 1_000_000  # of all messages walked; a student has a few thousand

NESTED: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "GraphProto", 8: "OperatorSetIdProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 9: "OperatorSetIdProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto"},
        **{22: "SparseTensorProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
    "OperatorSetIdProto": {},
}
DOMAIN_FIELDS: Final = {"OperatorSetIdProto": 1, "NodeProto": 7, "FunctionProto": 10}
GRAPH_FIELD: Final = 7  # of the model
OPERATOR_FIELD, DOMAIN_FIELD = 4, DOMAIN_FIELDS["NodeProto"]  # of a node
EXTERNAL_DATA_FIELD: Final = 13  # of a tensor: where in which file
DATA_LOCATION_FIELD: Final = 14  # of a tensor: 0 when it is in this one

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_BYTES: Final = {FIXED64: 8, FIXED32: 4}
MAX_VARINT_BYTES: Final = 10
MAX_TAG: Final = 2**32


class _Span(NamedTuple):
    """A message within the file."""

    message: str
    start: int
    end: int


class _Field(NamedTuple):
    """A field of a message; its value is a number, or else the bytes between `start` and `end`."""

    number: int
    kind: int
    value: int
    start: int
    end: int


class _MalformedError(Exception):
    """Not what protobuf writes."""


def check_onnx_file(path: Path, more_domains: Collection[bytes] = ()) -> None:
    """Refuse a graph that holds more than operators of the standard and their data.

    Args:
        more_domains: of operators that are let through as well; of some domains, only those listed here.

    Raises:
        BundleError: no ONNX model, operators of another domain, or data outside of the file.
    """
    if path.suffix != ".onnx":  # ONNX Runtime reads another format from `.ort`
        raise BundleError(path, f"a graph in a file named *{path.suffix}", "one named *.onnx")
    if not path.stat().st_size:
        raise BundleError(path, "an empty file", "an ONNX model")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            _walk(path, content, ALLOWED_DOMAINS | frozenset(more_domains))
        except _MalformedError as error:
            raise BundleError(path, str(error), "an ONNX model") from error


def _walk(path: Path, content: mmap.mmap, domains: Collection[bytes]) -> None:
    spans = [_Span("ModelProto", 0, len(content))]
    num_fields = num_graphs = 0
    while spans:
        span = spans.pop()
        nested = NESTED[span.message]
        if span.message == "NodeProto" and domains != ALLOWED_DOMAINS:
            _check_operator(path, content, span)
        for field in _fields(content, span.start, span.end):
            num_fields += 1
            if num_fields > MAX_FIELDS:
                raise _MalformedError(f"more than {MAX_FIELDS} fields")
            if field.number in nested:
                spans.append(_Span(nested[field.number], *_bytes_of(field)))
            _check_field(path, content, span.message, field, domains)
            num_graphs += (span.message, field.number) == ("ModelProto", GRAPH_FIELD)
    if not num_graphs:
        raise _MalformedError("no graph")


def _check_operator(path: Path, content: mmap.mmap, node: _Span) -> None:
    """Refuse a node of a domain of which only some operators are let through, unless it is one of these."""
    found: dict[int, set[bytes]] = {OPERATOR_FIELD: set(), DOMAIN_FIELD: set()}
    for field in _fields(content, node.start, node.end):
        if field.number in found:
            start, end = _bytes_of(field)
            found[field.number].add(content[start:end])
    for domain in found[DOMAIN_FIELD] & OPERATORS_OF.keys():
        if unknown := sorted(found[OPERATOR_FIELD] - OPERATORS_OF[domain]):
            wanted = ", ".join(sorted(name.decode() for name in OPERATORS_OF[domain]))
            shown = unknown[0][:100].decode(errors="replace")
            raise BundleError(path, f"the operator {shown!r} of {domain.decode()}", f"{wanted} alone")


def _check_field(
    path: Path, content: mmap.mmap, message: str, field: _Field, domains: Collection[bytes]
) -> None:
    if field.number == DOMAIN_FIELDS.get(message):
        start, end = _bytes_of(field)
        domain = content[start:end]
        if domain not in domains:
            shown = domain[:100].decode(errors="replace")
            raise BundleError(path, f"operators of the domain {shown!r}", "operators of ONNX itself")
    elif message == "TensorProto" and (
        field.number == EXTERNAL_DATA_FIELD or (field.number == DATA_LOCATION_FIELD and field.value)
    ):
        raise BundleError(path, "a tensor whose data lie in another file", "data in the graph's own file")


def _bytes_of(field: _Field) -> tuple[int, int]:
    if field.kind != BYTES:
        raise _MalformedError(f"wire type {field.kind} at byte {field.start} where bytes belong")
    return field.start, field.end


def _fields(content: mmap.mmap, place: int, end: int) -> Iterator[_Field]:
    while place < end:
        start = place
        tag, place = _varint(content, place, end)
        number, kind = tag >> 3, tag & 7
        if not 8 <= tag < MAX_TAG or (kind not in (VARINT, BYTES) and kind not in FIXED_BYTES):
            raise _MalformedError(f"no protobuf field at byte {start}")
        value, size = 0, FIXED_BYTES.get(kind, 0)
        if kind == VARINT:
            value, place = _varint(content, place, end)
        elif kind == BYTES:
            size, place = _varint(content, place, end)
        if place + size > end:
            raise _MalformedError(f"{place + size - end} bytes too few for the field at byte {start}")
        yield _Field(number, kind, value, place, place + size)
        place += size


def _varint(content: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place after it."""
    value = 0
    for index, byte in enumerate(content[place : min(end, place + MAX_VARINT_BYTES)]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise _MalformedError(f"a number without end at byte {place}")
