"""`POST /v2/models/…/infer`: numbers as bytes, in the binary tensor extension of the Open Inference Protocol.

Numbers are neither written nor read as decimals, which is what takes most of the time when they are many.
Dimension letters: N rows, C classes.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from rbm_client.errors import InputError, invalid_answer
from rbm_client.exchange import Answer, Call
from rbm_client.questions import Question
from rbm_client.results import NO_CLASS, Classification, Experts, Info, PositionSource, TopK
from rbm_client.splitting import parts

MANY_ROWS: Final = 64  # from here on, bytes are quicker than decimals
JSON_LENGTH: Final = "inference-header-content-length"
FP32: Final = np.dtype("<f4")
INT64: Final = np.dtype("<i8")
DTYPES: Final[Mapping[str, np.dtype[Any]]] = {"FP32": FP32, "INT64": INT64}
EXPLANATION: Final = ("experts", "weights", "similarity")
LENGTH: Final = struct.Struct("<I")  # before each string
Tensors = Mapping[str, npt.NDArray[Any]]
Column = npt.NDArray[Any] | list[bytes]
"""Numbers, or strings as UTF-8."""


def can_say(question: Question, info: Info) -> bool:
    """Return whether a question is one for tensors, and one that the model of `info` can answer.

    What the service refuses is left to `/classify`, which explains it better.
    """
    if {"neighbors", "records"} & question.columns.keys() or question.binary is False:
        return False
    if not question.binary and (question.num_rows < MANY_ROWS or "features" not in question.columns):
        return False
    least, k = question.options.get("min_confidence", 0), question.options.get("top_k", 1)
    fits = isinstance(k, int) and isinstance(least, int | float) and 0 <= least <= 1
    fits = fits and question.options.get("on_unknown", "error") in ("error", "null")
    return fits and 1 <= k <= len(info.labels) and question.version in (None, info.model.version)


def calls(question: Question, info: Info) -> Iterator[Call]:
    """Yield the requests that a question takes, to the very version that `info` describes.

    Raises:
        InputError: ids that do not fit 64 bits.
    """
    names = ("probabilities", *(EXPLANATION if question.options.get("explain") else ()))
    columns = {name: _tensor(name, column) for name, column in question.columns.items()}
    row_bytes = sum(_row_bytes(column) for column in columns.values())
    path = f"/v2/models/{quote(info.model.name, safe='')}/versions/{info.model.version}/infer"
    for span in parts(np.asarray(row_bytes), info.limits):
        shares = {name: column[span] for name, column in columns.items()}
        datas = {name: _bytes(share) for name, share in shares.items()}
        head = json.dumps(
            {
                "parameters": {"on_unknown": "null"} if question.in_part else {},
                "inputs": [
                    {
                        "name": name,
                        "datatype": _datatype(shares[name]),
                        "shape": np.shape(shares[name]),
                        "parameters": {"binary_data_size": len(data)},
                    }
                    for name, data in datas.items()
                ],
                "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in names],
            }
        ).encode()
        headers = {
            "content-type": "application/octet-stream",
            JSON_LENGTH: str(len(head)),
            "accept-encoding": "identity",  # floats hardly shrink, and that takes longer than to send them
        }
        yield Call("POST", path, b"".join([head, *datas.values()]), headers)


def read(answers: Sequence[Answer], question: Question, info: Info) -> Classification:
    """Return what the answers say together, as `/classify` would have said it.

    Raises:
        InvalidAnswerError: the service would not say that.
    """
    try:
        found = [_outputs(answer) for answer in answers]
        outputs = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        request_ids = tuple(answer.headers["x-request-id"] for answer in answers)
        return _classification(request_ids, outputs, question, info)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise invalid_answer("/v2", error, "tensors") from error


def _classification(
    request_ids: tuple[str, ...], outputs: Tensors, question: Question, info: Info
) -> Classification:
    probabilities, options = outputs["probabilities"], question.options
    class_index = probabilities.argmax(axis=1)  # ties to the lowest index
    confidence = np.take_along_axis(probabilities, class_index[:, None], axis=1)[:, 0]
    names, ids = np.array(info.labels, np.object_), question.columns.get("node_ids")
    labels, abstained = names[class_index], None
    positions = np.full(len(labels), _position_source(question, info), np.object_)
    unknown = np.isnan(confidence)
    class_index[unknown] = NO_CLASS
    labels[unknown] = positions[unknown] = None
    if (least := options.get("min_confidence")) is not None:
        abstained = confidence.astype(np.float64) < least
        labels[abstained] = None
    k, explained = options.get("top_k", 1), options.get("explain")
    return Classification(
        model=info.model,
        request_ids=request_ids,
        node_ids=None if ids is None else tuple(ids),
        labels=labels,
        class_index=class_index,
        confidence=confidence,
        positions=positions,
        probabilities=probabilities if options.get("return_probabilities") else None,
        top_k=_top_k(probabilities, names, k, unknown) if k > 1 else None,
        abstained=abstained,
        experts=Experts(*(outputs[name] for name in EXPLANATION)) if explained else None,
        unknown=unknown if question.in_part else None,
    )


def _position_source(question: Question, info: Info) -> PositionSource:
    """Where the positions of all rows came from that the model can answer."""
    if "positions" in question.columns:
        return "supplied"
    return "default" if info.position_width == 0 else "cached"


def _top_k(
    probabilities: npt.NDArray[np.float32],
    names: npt.NDArray[np.object_],
    k: int,
    unknown: npt.NDArray[np.bool_],
) -> TopK:
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]  # ties to the lowest index
    labels, ranked = names[order], np.take_along_axis(probabilities, order, axis=1)
    labels[unknown], order[unknown] = None, NO_CLASS
    return TopK(labels, order, ranked)


def _outputs(answer: Answer) -> dict[str, npt.NDArray[Any]]:
    """The tensors of an answer: JSON that describes them, and their bytes behind it, in order."""
    start = int(answer.headers[JSON_LENGTH])
    outputs = {}
    for output in json.loads(answer.content[:start])["outputs"]:
        dtype, size = DTYPES[output["datatype"]], output["parameters"]["binary_data_size"]
        flat = np.frombuffer(answer.content, dtype, size // dtype.itemsize, start)
        outputs[output["name"]] = flat.reshape(output["shape"]).astype(dtype.newbyteorder("="))
        start += size
    return outputs


def _tensor(name: str, column: Any) -> Column:  # noqa: ANN401 - a list or an array
    if isinstance(column, np.ndarray):
        with np.errstate(over="ignore"):  # the service refuses what becomes infinite
            return column.astype(FP32)
    if column and isinstance(column[0], str):
        return [text.encode() for text in column]
    try:
        return np.array(column, INT64)
    except OverflowError:
        raise InputError(f"{name}: found a number beyond 64 bits; wanted ids as the model has them") from None


def _datatype(column: Column) -> str:
    if isinstance(column, list):
        return "BYTES"
    return "FP32" if column.dtype.kind == "f" else "INT64"


def _row_bytes(column: Column) -> npt.NDArray[np.int64]:
    if isinstance(column, list):
        return np.array([LENGTH.size + len(text) for text in column], np.int64)
    return np.full(len(column), column[:1].nbytes, np.int64)


def _bytes(column: Column) -> bytes:
    if isinstance(column, list):
        return b"".join(part for text in column for part in (LENGTH.pack(len(text)), text))
    return column.tobytes()
