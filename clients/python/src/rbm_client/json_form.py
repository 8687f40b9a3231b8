"""`POST /classify`: questions as JSON, and its answers as arrays.

Dimension letters: N rows, L layers, K experts per row, k classes listed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_client.errors import InputError, invalid_answer
from rbm_client.exchange import Answer, Call
from rbm_client.questions import Question
from rbm_client.results import NO_CLASS, NO_EXPERT, Classification, Experts, Info, ModelRef, TopK
from rbm_client.splitting import parts

HEADERS: Final = {"content-type": "application/json"}


def calls(question: Question, info: Info) -> Iterator[Call]:
    """Yield the requests that a question takes. Where they are several, one version has to answer them all;
    that of `info` also where nodes may be unknown, since it tells how wide their rows are.

    Raises:
        InputError: records or options that JSON cannot say.
    """
    columns = {name: [_json(name, row) for row in column] for name, column in question.columns.items()}
    row_bytes = sum(np.fromiter((len(text) + 1 for text in column), np.int64) for column in columns.values())
    spans = list(parts(np.asarray(row_bytes), info.limits))
    model, version = question.model, question.version
    if version is None and (len(spans) > 1 or question.in_part):
        model, version = info.model.name, info.model.version
    asked = {"model": model, "version": version, **question.options}
    options = [f'"{name}":{_json(name, value)}' for name, value in asked.items() if value is not None]
    for span in spans:
        given = [f'"{name}":[{",".join(texts[span])}]' for name, texts in columns.items()]
        yield Call("POST", "/classify", f"{{{','.join([*given, *options])}}}".encode(), HEADERS)


def read(answers: Sequence[Answer], question: Question, info: Info) -> Classification:
    """Return what the answers say together.

    Raises:
        InvalidAnswerError: the service would not say that.
    """
    try:
        said = [json.loads(answer.content) for answer in answers]
        nothing = _nothing(question, info) if question.in_part else {}
        predictions = [
            prediction | nothing if "unknown" in prediction else prediction
            for part in said
            for prediction in part["predictions"]
        ]
        request_ids = tuple(answer.headers["x-request-id"] for answer in answers)
        unknown = np.array(["unknown" in it for it in predictions]) if nothing else None
        return _classification(said[0]["model"], request_ids, predictions, unknown)
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_answer("/classify", error, "predictions") from error


def _nothing(question: Question, info: Info) -> dict[str, Any]:
    """What stands in the arrays for a node that the model does not know: as much as for any other."""
    options, nan = question.options, float("nan")
    nothing: dict[str, Any] = {"class_index": NO_CLASS, "confidence": nan}
    if options.get("top_k", 1) > 1:
        ranked = {"label": None, "class_index": NO_CLASS, "probability": nan}
        nothing["top_k"] = [ranked] * options["top_k"]
    if options.get("return_probabilities"):
        nothing["probabilities"] = [nan] * len(info.labels)
    if "min_confidence" in options:
        nothing["abstained"] = False
    if options.get("explain"):
        architecture = info.document["architecture"]
        layers, K = range(len(architecture["num_experts"])), architecture["experts_per_row"]
        expert = {"expert": NO_EXPERT, "weight": 0.0, "similarity": 0.0}
        nothing["experts"] = [{"layer": layer, **expert} for layer in layers for _ in range(K)]
    return nothing


def _classification(
    model: Mapping[str, Any],
    request_ids: tuple[str, ...],
    predictions: Sequence[Mapping[str, Any]],
    unknown: npt.NDArray[np.bool_] | None,
) -> Classification:
    first = predictions[0]

    def column(name: str) -> list[Any]:
        return [prediction[name] for prediction in predictions]

    node_ids = None if first["node_id"] is None else tuple(column("node_id"))
    return Classification(
        model=ModelRef(model["name"], model["version"]),
        request_ids=request_ids,
        node_ids=node_ids,
        labels=np.array(column("label"), np.object_),
        class_index=np.array(column("class_index"), np.int64),
        confidence=np.array(column("confidence"), np.float32),
        positions=np.array(column("position"), np.object_),
        probabilities=np.array(column("probabilities"), np.float32) if "probabilities" in first else None,
        top_k=_top_k(column("top_k")) if "top_k" in first else None,
        abstained=np.array(column("abstained"), np.bool_) if "abstained" in first else None,
        experts=_experts(column("experts")) if "experts" in first else None,
        unknown=unknown,
    )


def _top_k(rows: Sequence[Sequence[Mapping[str, Any]]]) -> TopK:
    """Of what is listed for each row."""

    def table(name: str) -> list[list[Any]]:
        return [[ranked[name] for ranked in row] for row in rows]

    return TopK(
        labels=np.array(table("label"), np.object_),
        class_index=np.array(table("class_index"), np.int64),
        probabilities=np.array(table("probability"), np.float32),
    )


def _experts(rows: Sequence[Sequence[Mapping[str, Any]]]) -> Experts:
    """The same three tensors of which the service made lists."""
    layers = [[expert["layer"] for expert in row] for row in rows]
    L = 1 + max(max(row) for row in layers)
    K = max(row.count(layer) for row in layers for layer in set(row))
    experts = np.full((len(rows), L, K), NO_EXPERT, np.int64)
    weights, similarity = np.zeros((2, len(rows), L, K), np.float32)
    for row, chosen in enumerate(rows):
        for index, expert in enumerate(chosen):
            layer = expert["layer"]
            place = row, layer, index - layers[row].index(layer)
            experts[place] = expert["expert"]
            weights[place], similarity[place] = expert["weight"], expert["similarity"]
    return Experts(experts, weights, similarity)


def _json(name: str, value: Any) -> str:  # noqa: ANN401 - whatever the service may take
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found {error}; wanted what JSON can say") from None


def _plain(value: object) -> object:
    """A scalar or an array of numpy as JSON has it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")
