"""From a batcher's outputs to the answer of the protocol: JSON, or bytes behind it.

Dimension letters: B rows, C classes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_service.api.inference import MAX_VALUES_ON_LOOP
from rbm_service.api.v2.requests import InferRequest, RequestedOutput
from rbm_service.api.v2.tensors import DATATYPES, LENGTH, check_name
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.postprocessing import ranking
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.runtime.tensors import ALWAYS, Tensors

BY_CLASS: Final = ("probabilities", "logits")
OUTPUTS: Final = (*BY_CLASS, "experts", "weights", "similarity")
OF_UNKNOWN: Final = {"experts": NO_EXPERT, "weights": 0.0, "similarity": 0.0}  # of all others, NaN


class Wanted(NamedTuple):
    """One output as it is wanted: `num_classes` of the classification instead of the tensor, if given."""

    name: str
    num_classes: int | None
    binary: bool


def wanted_outputs(request: InferRequest, num_classes: int) -> list[Wanted]:
    """What a request wants to read.

    Raises:
        InvalidRequestError: an output that there is not, or not in this way.
    """
    wanted: list[Wanted] = []
    requested = request.outputs or [RequestedOutput(name="probabilities")]
    names = [output.name for output in requested]
    for output in requested:
        check_name("outputs", output.name, OUTPUTS, names if names.count(output.name) > 1 else ())
        mismatch = partial(InvalidRequestError.mismatch, output.name)
        if output.parameters.shared_memory_region is not None:
            raise mismatch(expected="no region of shared memory", got="one")
        k, binary = output.parameters.classification, output.parameters.binary_data
        if k is not None and output.name not in BY_CLASS:
            raise mismatch(expected=f"a classification of {' or '.join(BY_CLASS)} only", got=k)
        if k is not None and k > num_classes:
            raise mismatch(expected=f"a classification of at most {num_classes} (classes)", got=k)
        binary = request.parameters.binary_data_output if binary is None else binary
        wanted.append(Wanted(output.name, k, binary))
    return wanted


def needs_explanation(wanted: Sequence[Wanted]) -> bool:
    """Whether an output is fetched from the graph only when asked for."""
    return any(output.name not in ALWAYS for output in wanted)


def with_unknown(outputs: Tensors, rows: RequestRows) -> Tensors:
    """The outputs for all rows of a request; where a node is unknown, no number and no expert."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, tensor in outputs.items():
        shape = (rows.num_asked, *tensor.shape[1:])
        tensors[name] = np.full(shape, OF_UNKNOWN.get(name, np.nan), tensor.dtype)
        tensors[name][rows.answered] = tensor
    return tensors


def answer_body(
    head: Mapping[str, str], labels: Sequence[str], wanted: Sequence[Wanted], outputs: Tensors
) -> tuple[bytes, int | None]:
    """The answer; bytes are taken from the outputs where they lie.

    Args:
        head: what the answer says before its outputs.

    Returns:
        The answer, and how many bytes of it are JSON, None: all.
    """
    described: list[bytes] = []
    parts: list[bytes | memoryview] = []
    for output in wanted:
        tensor = outputs[output.name]
        if output.num_classes is not None:
            tensor = _classification(tensor, output.num_classes, labels)
        datatype = DATATYPES.get(tensor.dtype.name, "BYTES")
        entry: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": tensor.shape}
        if output.binary:
            parts.append(_as_bytes(tensor))
            described.append(to_json({**entry, "parameters": {"binary_data_size": len(parts[-1])}}))
        else:
            described.append(b'%b,"data":[%b]}' % (to_json(entry)[:-1], _as_json(tensor)))
    header = b'%b,"outputs":[%b]}' % (to_json(head)[:-1], b",".join(described))
    return b"".join([header, *parts]), len(header) if parts else None


def _classification(scores: npt.NDArray[np.float32], k: int, labels: Sequence[str]) -> npt.NDArray[Any]:
    """The k highest as `score:index:label`, best first, shape (B, k); empty where there are no scores."""
    texts = [
        [f"{scores[row, index]:f}:{index}:{labels[index]}" for index in ranked]
        for row, ranked in enumerate(ranking(scores, k).tolist())
    ]
    ranked_classes = np.array(texts, np.object_)
    ranked_classes[np.isnan(scores[:, 0])] = ""
    return ranked_classes


def _as_json(tensor: npt.NDArray[Any]) -> bytes:
    """The values behind each other; in pieces, between which other threads have their turn."""
    flat = tensor.ravel()
    pieces = [flat[start : start + MAX_VALUES_ON_LOOP] for start in range(0, len(flat), MAX_VALUES_ON_LOOP)]
    return b",".join([to_json(piece.tolist(), inf_nan_mode="null")[1:-1] for piece in pieces])


def _as_bytes(tensor: npt.NDArray[Any]) -> bytes | memoryview:
    if tensor.dtype == np.object_:
        encoded = [text.encode() for text in tensor.ravel().tolist()]
        return b"".join(part for text in encoded for part in (LENGTH.pack(len(text)), text))
    return np.ascontiguousarray(tensor).data.cast("B")
