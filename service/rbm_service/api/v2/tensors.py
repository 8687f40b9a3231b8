"""Tensors as the protocol names them: which a model has, and from those of a request the query they ask.

A tensor comes as JSON or as bytes behind it (little-endian, row-major); bytes are read where they lie.
Dimension letters: B rows, F features, P position width, S non-zeros of the longest row, -1 a free size.
"""

import math
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import Provider, TensorSpec
from rbm_service.api.number_arrays import Dtype, NotNumbersError, read_array, text_of
from rbm_service.api.v2.record_tensors import FREE, record_inputs, records_of
from rbm_service.api.v2.requests import Datatype, Input
from rbm_service.api.v2.responses import TensorMetadata
from rbm_service.api.validation import MAX_SHOWN
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.features import PaddedPair
from rbm_service.inference.preprocessing import NodeQuery, check_num_rows
from rbm_service.web.limits import RawBody

DATATYPES: Final[Mapping[str, Datatype]] = {"float32": "FP32", "int64": "INT64"}
BINARY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
JSON_DTYPES: Final[Mapping[str, Dtype]] = {"FP32": np.float64, "INT64": np.int64}
LENGTH: Final = struct.Struct("<I")  # before each string

Array = npt.NDArray[Any]
Column = Array | list[Any]

mismatch = InvalidRequestError.mismatch


def listed_inputs(manifest: Manifest) -> list[TensorMetadata]:
    """What a model takes: `node_ids`, features in the form of its graph, positions if it has any, and fields
    of records, if it takes these in place of features."""
    listed = [_inputs(manifest)["node_ids"], *map(_metadata, manifest.inputs().values())]
    return [*listed, *record_inputs(manifest).values()]


def listed_outputs(manifest: Manifest, device: Provider) -> list[TensorMetadata]:
    """What a model gives, by name of the graph's outputs."""
    return [*map(_metadata, manifest.graphs[device].outputs)]


def read_query(
    tensors: Sequence[Input],
    binary: memoryview,
    manifest: Manifest,
    max_rows: int,
    texts: Sequence[RawBody] = (),
) -> NodeQuery:
    """The query that the tensors of a request ask.

    Args:
        binary: what followed the JSON.
        texts: the numbers that were cut out of the JSON.

    Raises:
        InvalidRequestError: a tensor of another name, datatype or shape, or other data than it promises.
    """
    known = _inputs(manifest)
    columns: dict[str, Any] = {}
    total = sum(tensor.parameters.binary_data_size or 0 for tensor in tensors)
    if total != len(binary):
        expected = f"{total} bytes behind the JSON, the sum of binary_data_size"
        raise mismatch(expected=expected, got=len(binary))
    for tensor in tensors:
        check_name("inputs", tensor.name, known, columns)
        _check(tensor, known[tensor.name], max_rows)
        size = tensor.parameters.binary_data_size
        if size is None:
            columns[tensor.name] = _from_json(tensor, texts)
        else:
            columns[tensor.name] = _from_bytes(tensor, binary[:size])
            binary = binary[size:]
    ids, positions = columns.get("node_ids"), columns.get("positions")
    return NodeQuery(ids, _features(columns), None, positions, records_of(columns, manifest))


def check_name(place: str, name: str, known: Collection[str], taken: Collection[str]) -> None:
    """Refuse the name of a tensor that there is not, or that is named already."""
    if name not in known or name in taken:
        got = f"{name} twice" if name in known else repr(name[:MAX_SHOWN])
        raise mismatch(place, expected=f"each of {', '.join(known)} at most once", got=got)


def _metadata(spec: TensorSpec) -> TensorMetadata:
    shape = tuple(FREE if size is None else size for size in spec.shape)
    return TensorMetadata(name=spec.name, datatype=DATATYPES[spec.dtype], shape=shape)


def _inputs(manifest: Manifest) -> Mapping[str, TensorMetadata]:
    """All that may be sent, by name: every model takes both forms of features."""
    nodes = manifest.nodes
    known = _inputs_of(nodes.id_kind == "string", manifest.features.num_features, nodes.position_width)
    return known if manifest.records is None else {**known, **record_inputs(manifest)}


@lru_cache(maxsize=64)
def _inputs_of(has_string_ids: bool, F: int, P: int) -> Mapping[str, TensorMetadata]:
    inputs: list[tuple[str, Datatype, tuple[int, ...]]] = [
        ("node_ids", "BYTES" if has_string_ids else "INT64", (FREE,)),
        ("features", "FP32", (FREE, F)),
        ("feature_ids", "INT64", (FREE, FREE)),
        ("feature_values", "FP32", (FREE, FREE)),
        ("positions", "FP32", (FREE, P)),
    ]
    return {name: TensorMetadata(name=name, datatype=kind, shape=shape) for name, kind, shape in inputs}


def _features(columns: Mapping[str, Any]) -> Array | PaddedPair | None:
    match [name for name in ("features", "feature_ids", "feature_values") if name in columns]:
        case [] | ["features"]:
            return columns.get("features")
        case ["feature_ids", "feature_values"]:
            return PaddedPair(columns["feature_ids"], columns["feature_values"])
        case names:
            expected = "features, or feature_ids and feature_values"
            raise mismatch("inputs", expected=expected, got=", ".join(names))


def _check(tensor: Input, known: TensorMetadata, max_rows: int) -> None:
    name, shape, parameters = tensor.name, tensor.shape, tensor.parameters
    if parameters.shared_memory_region is not None:
        raise mismatch(name, expected="the data", got="a region of shared memory")
    if tensor.datatype != known.datatype:
        raise mismatch(name, expected=f"datatype {known.datatype}", got=tensor.datatype)
    sizes = zip(shape, known.shape, strict=False)
    if len(shape) != len(known.shape) or any(size not in (FREE, given) for given, size in sizes):
        raise mismatch(name, expected=f"shape {list(known.shape)} (-1: any size)", got=shape)
    check_num_rows(name, shape[0], max_rows)
    if (tensor.data is None) == (parameters.binary_data_size is None):
        got = "neither" if tensor.data is None else "both"
        raise mismatch(name, expected="data or binary_data_size", got=got)


def _check_amount(tensor: Input, expected: int, got: int, unit: str) -> None:
    if got != expected:
        raise mismatch(tensor.name, expected=f"{expected} {unit} for shape {tensor.shape}", got=got)


def _from_json(tensor: Input, texts: Sequence[RawBody]) -> Column:
    refuse = partial(mismatch, tensor.name, "data")
    data: Any = tensor.data
    text = text_of(data, texts)
    if text is not None:
        try:
            data = read_array(text, JSON_DTYPES[tensor.datatype])
        except NotNumbersError as error:
            got = error.part[:MAX_SHOWN].decode(errors="replace")
            expected = "integers" if tensor.datatype == "INT64" else "numbers"
            raise refuse(expected=expected, got=got) from None
    if len(data) == 0 or not isinstance(data[0], list | np.ndarray):
        _check_amount(tensor, math.prod(tensor.shape), len(data), "values")
    elif [len(row) for row in data] != tensor.shape[1:] * tensor.shape[0]:
        got = "rows of other lengths or another number of them"
        raise refuse(expected=f"shape {tensor.shape}", got=got)
    if tensor.datatype == "BYTES":
        return list(data)
    return np.asarray(data, JSON_DTYPES[tensor.datatype]).reshape(tensor.shape)


def _from_bytes(tensor: Input, share: memoryview) -> Column:
    if tensor.datatype == "BYTES":
        return list(_strings(tensor, share))
    dtype = BINARY_DTYPES[tensor.datatype]
    _check_amount(tensor, math.prod(tensor.shape) * dtype.itemsize, len(share), "bytes")
    # A copy only where the JSON before it left it askew in memory, which nothing below has to bear.
    array: Array = np.frombuffer(share, dtype).reshape(tensor.shape)
    return array if array.flags.aligned else array.copy()


def _strings(tensor: Input, share: memoryview) -> Iterator[str]:
    """Each behind its length in four bytes."""
    end = 0
    for index in range(math.prod(tensor.shape)):
        refuse = partial(mismatch, tensor.name, index)
        start = end + LENGTH.size
        if start > len(share):
            raise refuse(expected="a string", got="no more bytes")
        end = start + LENGTH.unpack_from(share, end)[0]
        if end > len(share):
            raise refuse(expected=f"a string of {end - start} bytes", got=len(share) - start)
        try:
            yield str(share[start:end], "utf-8")
        except UnicodeDecodeError:
            raise refuse(expected="UTF-8", got="other bytes") from None
    _check_amount(tensor, end, len(share), "bytes")
