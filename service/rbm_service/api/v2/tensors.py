"""Tensors as the protocol names them: which a model has, and from those of a request the query they ask.

A tensor comes as JSON or as bytes behind it (little-endian, row-major); bytes are read where they lie.
Dimension letters: B rows, F features, P position width, S non-zeros of the longest row, -1 a free size.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.manifest import Manifest, Provider, TensorSpec
from rbm_service.api.v2.requests import Datatype, Input
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.features import PaddedPair
from rbm_service.inference.preprocessing import NodeQuery, check_num_rows

FREE: Final = -1
DATATYPES: Final[Mapping[str, Datatype]] = {"float32": "FP32", "int64": "INT64"}
BINARY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
JSON_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {"FP32": np.dtype("f8"), "INT64": np.dtype("i8")}
LENGTH: Final = struct.Struct("<I")  # before each string

Array = npt.NDArray[Any]
Column = Array | list[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a tensor must be."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]


def listed_inputs(manifest: Manifest) -> list[TensorInfo]:
    """What a model takes: `node_ids`, features in the form of its graph, and positions if it has any."""
    native = {*manifest.features.inputs(), "node_ids"}
    if manifest.nodes.position_width:
        native.add("positions")
    return [info for name, info in _inputs(manifest).items() if name in native]


def listed_outputs(manifest: Manifest, device: Provider) -> list[TensorInfo]:
    """What a model gives, by name of the graph's outputs."""
    return [_info(spec) for spec in manifest.graphs[device].outputs]


def read_query(tensors: Sequence[Input], binary: memoryview, manifest: Manifest, max_rows: int) -> NodeQuery:
    """The query that the tensors of a request ask.

    Args:
        binary: what followed the JSON.

    Raises:
        InvalidRequestError: a tensor of another name, datatype or shape, or other data than it promises.
    """
    known = _inputs(manifest)
    columns: dict[str, Any] = {}
    for tensor, share in zip(tensors, _shares(tensors, binary), strict=True):
        if tensor.name not in known or tensor.name in columns:
            found = "twice" if tensor.name in columns else f"found {tensor.name[:100]!r}"
            raise InvalidRequestError.at(
                "inputs", msg=f"{found}, wanted each of {', '.join(known)} at most once"
            )
        _check(tensor, known[tensor.name], max_rows)
        columns[tensor.name] = _from_json(tensor) if share is None else _from_bytes(tensor, share)
    return NodeQuery(columns.get("node_ids"), _features(columns), None, columns.get("positions"))


def _inputs(manifest: Manifest) -> dict[str, TensorInfo]:
    """All that may be sent: every model takes both forms of features."""
    ids: Datatype = "BYTES" if manifest.nodes.id_kind == "string" else "INT64"
    infos = [
        TensorInfo("node_ids", ids, (FREE,)),
        TensorInfo("features", "FP32", (FREE, manifest.features.num_features)),
        TensorInfo("feature_ids", "INT64", (FREE, FREE)),
        TensorInfo("feature_values", "FP32", (FREE, FREE)),
        TensorInfo("positions", "FP32", (FREE, manifest.nodes.position_width)),
    ]
    return {info.name: info for info in infos}


def _info(spec: TensorSpec) -> TensorInfo:
    shape = tuple(FREE if size is None else size for size in spec.shape)
    return TensorInfo(spec.name, DATATYPES[spec.dtype], shape)


def _features(columns: Mapping[str, Any]) -> Array | PaddedPair | None:
    pair = [name for name in ("feature_ids", "feature_values") if name in columns]
    if not pair:
        return columns.get("features")
    if len(pair) == 1 or "features" in columns:
        found = ", ".join(name for name in ("features", *pair) if name in columns)
        msg = f"found {found}, wanted features, or feature_ids and feature_values"
        raise InvalidRequestError.at("inputs", msg=msg)
    return PaddedPair(columns["feature_ids"], columns["feature_values"])


def _shares(tensors: Sequence[Input], binary: memoryview) -> Iterator[memoryview | None]:
    """For each tensor its bytes, None where its data are in the JSON."""
    sizes = [tensor.parameters.binary_data_size for tensor in tensors]
    ends = list(accumulate(size or 0 for size in sizes))
    if ends[-1] != len(binary):
        msg = f"found {len(binary)} bytes behind the JSON, wanted {ends[-1]}, the sum of binary_data_size"
        raise InvalidRequestError(msg)
    for size, end in zip(sizes, ends, strict=True):
        yield None if size is None else binary[end - size : end]


def _check(tensor: Input, wanted: TensorInfo, max_rows: int) -> None:
    if tensor.parameters.shared_memory_region is not None:
        raise InvalidRequestError.at(tensor.name, msg="found a region of shared memory, wanted the data")
    if tensor.datatype != wanted.datatype:
        msg = f"found datatype {tensor.datatype}, wanted {wanted.datatype}"
        raise InvalidRequestError.at(tensor.name, msg=msg)
    fits = len(tensor.shape) == len(wanted.shape) and all(
        want in (FREE, size) for size, want in zip(tensor.shape, wanted.shape, strict=True)
    )
    if not fits:
        msg = f"found shape {tensor.shape}, wanted {list(wanted.shape)} (-1: any size)"
        raise InvalidRequestError.at(tensor.name, msg=msg)
    check_num_rows(tensor.name, tensor.shape[0], max_rows)
    if (tensor.data is None) == (tensor.parameters.binary_data_size is None):
        found = "neither" if tensor.data is None else "both"
        raise InvalidRequestError.at(tensor.name, msg=f"found {found}, wanted data or binary_data_size")


def _from_json(tensor: Input) -> Column:
    data: list[Any] = tensor.data or []
    if data and isinstance(data[0], list):
        wanted = [tensor.shape[1]] * tensor.shape[0] if len(tensor.shape) == 2 else []
        if [len(row) for row in data] != wanted:
            raise InvalidRequestError.at(tensor.name, "data", msg=f"wanted rows of shape {tensor.shape}")
        data = list(chain.from_iterable(data))
    _check_count(tensor, len(data), "values")
    if tensor.datatype == "BYTES":
        return data
    return np.array(data, JSON_DTYPES[tensor.datatype]).reshape(tensor.shape)


def _from_bytes(tensor: Input, share: memoryview) -> Column:
    if tensor.datatype == "BYTES":
        return list(_strings(tensor, share))
    dtype = BINARY_DTYPES[tensor.datatype]
    _check_count(tensor, len(share), "bytes", dtype.itemsize)
    # A copy only where the JSON before it left it askew in memory, which nothing below has to bear.
    array: Array = np.frombuffer(share, dtype).reshape(tensor.shape)
    return array if array.flags.aligned else array.copy()


def _check_count(tensor: Input, found: int, unit: str, size: int = 1) -> None:
    wanted = math.prod(tensor.shape) * size
    if found != wanted:
        msg = f"found {found} {unit}, wanted {wanted} for shape {tensor.shape}"
        raise InvalidRequestError.at(tensor.name, msg=msg)


def _strings(tensor: Input, share: memoryview) -> Iterator[str]:
    """Each behind its length in four bytes."""
    place = 0
    for index in range(math.prod(tensor.shape)):
        start = place + LENGTH.size
        if start > len(share):
            raise InvalidRequestError.at(tensor.name, index, msg="found no more bytes, wanted a string")
        place = start + LENGTH.unpack_from(share, place)[0]
        if place > len(share):
            msg = f"found {len(share) - start} bytes, wanted a string of {place - start}"
            raise InvalidRequestError.at(tensor.name, index, msg=msg)
        try:
            yield str(share[start:place], "utf-8")
        except UnicodeDecodeError:
            raise InvalidRequestError.at(tensor.name, index, msg="wanted UTF-8") from None
    if place != len(share):
        msg = f"found {len(share)} bytes, wanted {place} for shape {tensor.shape}"
        raise InvalidRequestError.at(tensor.name, msg=msg)
