"""From a batcher's outputs to the answer of the protocol: JSON, or bytes behind it.

Dimension letters: B rows, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from rbm_service.api.v2.requests import Datatype, InferRequest, RequestedOutput
from rbm_service.api.v2.tensors import DATATYPES, LENGTH
from rbm_service.api.validation import MAX_SHOWN
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.postprocessing import ranking
from rbm_service.runtime.tensors import Tensors

BY_CLASS: Final = ("probabilities", "logits")
OUTPUTS: Final = (*BY_CLASS, "experts", "weights", "similarity")
VALUES_AT_ONCE: Final = 8192  # written out in about a millisecond
ALWAYS_THERE: Final = ("probabilities", "experts")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output as it is wanted: `num_classes` of the classification instead of the tensor, if given."""

    name: str
    num_classes: int | None
    binary: bool


@dataclass(frozen=True, slots=True)
class AnswerBody:
    """An answer as bytes; `header_length` of them are JSON, None: all."""

    content: bytes
    header_length: int | None


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """Who answers."""

    name: str
    version: int
    labels: Sequence[str]


def wanted_outputs(request: InferRequest, num_classes: int) -> list[Wanted]:
    """What a request wants to read.

    Raises:
        InvalidRequestError: an output that there is not, or not in this way.
    """
    requested = request.outputs or [RequestedOutput(name="probabilities")]
    names = [output.name for output in requested]
    for output in requested:
        if output.name not in OUTPUTS or names.count(output.name) > 1:
            got = f"{output.name} twice" if output.name in OUTPUTS else repr(output.name[:MAX_SHOWN])
            expected = f"each of {', '.join(OUTPUTS)} at most once"
            raise InvalidRequestError.mismatch("outputs", expected=expected, got=got)
        _check(output, num_classes)
    default = request.parameters.binary_data_output
    return [_wanted(output, default) for output in requested]


def needs_explanation(wanted: Sequence[Wanted]) -> bool:
    """Whether an output is fetched from the graph only when asked for."""
    return any(output.name not in ALWAYS_THERE for output in wanted)


def answer_body(
    request_id: str | None, model: AnsweringModel, wanted: Sequence[Wanted], outputs: Tensors
) -> AnswerBody:
    """The answer; bytes are taken from the outputs where they lie."""
    described: list[bytes] = []
    parts: list[bytes | memoryview] = []
    for output in wanted:
        tensor = outputs[output.name]
        if output.num_classes is not None:
            tensor = _classification(tensor, output.num_classes, model.labels)
        entry: dict[str, Any] = {"name": output.name, "datatype": _datatype(tensor), "shape": tensor.shape}
        if output.binary:
            parts.append(_as_bytes(tensor))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = []
        described.append(to_json(entry))
        if not output.binary:
            described[-1] = described[-1].removesuffix(b"]}") + _as_json(tensor) + b"]}"
    head: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version)}
    if request_id is not None:
        head["id"] = request_id
    header = b'%b,"outputs":[%b]}' % (to_json(head)[:-1], b",".join(described))
    return AnswerBody(b"".join([header, *parts]), len(header) if parts else None)


def _check(output: RequestedOutput, num_classes: int) -> None:
    mismatch = partial(InvalidRequestError.mismatch, output.name)
    if output.parameters.shared_memory_region is not None:
        raise mismatch(expected="no region of shared memory", got="one")
    k = output.parameters.classification
    if k is not None and output.name not in BY_CLASS:
        raise mismatch(expected=f"a classification of {' or '.join(BY_CLASS)} only", got=k)
    if k is not None and k > num_classes:
        raise mismatch(expected=f"a classification of at most {num_classes} (classes)", got=k)


def _wanted(output: RequestedOutput, binary: bool) -> Wanted:
    asked = output.parameters.binary_data
    return Wanted(output.name, output.parameters.classification, binary if asked is None else asked)


def _classification(scores: npt.NDArray[np.float32], k: int, labels: Sequence[str]) -> npt.NDArray[Any]:
    """The k highest as `score:index:label`, best first, shape (B, k)."""
    order = ranking(scores, k)
    chosen = np.take_along_axis(scores, order, axis=1)
    texts = np.empty(order.shape, np.object_)
    for place, index in np.ndenumerate(order):
        texts[place] = f"{chosen[place]:f}:{index}:{labels[int(index)]}"
    return texts


def _datatype(tensor: npt.NDArray[Any]) -> Datatype:
    return DATATYPES.get(tensor.dtype.name, "BYTES")


def _as_json(tensor: npt.NDArray[Any]) -> bytes:
    """The values behind each other; in pieces, between which other threads have their turn."""
    flat = tensor.ravel()
    pieces = [flat[start : start + VALUES_AT_ONCE] for start in range(0, len(flat), VALUES_AT_ONCE)]
    return b",".join([to_json(piece.tolist())[1:-1] for piece in pieces])


def _as_bytes(tensor: npt.NDArray[Any]) -> bytes | memoryview:
    if tensor.dtype == np.object_:
        encoded = [text.encode() for text in tensor.ravel().tolist()]
        return b"".join(part for text in encoded for part in (LENGTH.pack(len(text)), text))
    return np.ascontiguousarray(tensor).data.cast("B")
