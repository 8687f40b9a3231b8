"""From the outputs of a request to the answer its caller reads.

Dimension letters: B rows, C classes, L layers, K experts per row.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from pydantic_core import to_json

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_bundle.nodes import Floats, Integers, NodeId
from rbm_service.inference.batch import RequestOutputs
from rbm_service.runtime.tensors import Tensors, cut


class AnswerOptions(Protocol):
    """What a caller wants to read about each row: fields of its request."""

    top_k: int  # classes to list
    return_probabilities: bool  # of every class
    explain: bool  # by which experts
    min_confidence: float | None  # below this probability, an answer abstains


def values_per_row(options: AnswerOptions, outputs: RequestOutputs) -> int:
    """How many names and numbers the answer takes for one row: 5, 3 for each further class, 4 an expert."""
    num_values = 5 + 3 * (options.top_k - 1)
    if options.return_probabilities:
        num_values += outputs.outputs["probabilities"].shape[1]
    if options.explain:
        num_values += 4 * outputs.outputs["experts"][0].size
    return num_values


def write_answer(
    model: bytes,
    outputs: RequestOutputs,
    node_ids: Sequence[NodeId | None] | None,
    sources: Sequence[str],
    options: AnswerOptions,
    labels: Sequence[str],
    rows_at_once: int,
) -> tuple[bytes, int]:
    """The answer as JSON, one prediction per row with everything that was asked for, and how many abstain.

    Args:
        model: which answers, as JSON.
        sources: where the position of each row came from, (B,).
        rows_at_once: written out in one go; between two such pieces, other threads have their turn.
    """
    B, ids = len(sources), node_ids or [None] * len(sources)
    parts = []
    for start in range(0, B, rows_at_once):
        span = slice(start, start + rows_at_once)
        predictions = _predictions(outputs, ids, sources, options, labels, span)
        parts.append(to_json(predictions)[1:-1])
    content = b'{"model":%b,"predictions":[%b]}' % (model, b",".join(parts))
    least = options.min_confidence
    return content, 0 if least is None else sum(p < least for p in outputs.confidence)


def _predictions(
    outputs: RequestOutputs,
    node_ids: Sequence[NodeId | None],
    sources: Sequence[str],
    options: AnswerOptions,
    labels: Sequence[str],
    span: slice,
) -> list[dict[str, Any]]:
    """What is said of some of the rows; of one that abstains, no label."""
    least = options.min_confidence or 0.0
    classes, confidences = outputs.class_index[span], outputs.confidence[span]
    predictions: list[dict[str, Any]] = [
        {
            "node_id": node_id,
            "label": None if p < least else labels[index],
            "class_index": index,
            "confidence": p,
            "position": source,
        }
        for node_id, index, p, source in zip(node_ids[span], classes, confidences, sources[span], strict=True)
    ]
    columns: dict[str, Sequence[Any]] = {}  # what was asked for besides
    if options.top_k > 1:
        columns["top_k"] = _top_k(outputs.outputs["probabilities"][span], options.top_k, labels)
    if options.return_probabilities:
        columns["probabilities"] = outputs.outputs["probabilities"][span].tolist()
    if options.explain:
        columns["experts"] = _experts(cut(outputs.outputs, span))
    if options.min_confidence is not None:
        columns["abstained"] = [p < least for p in confidences]
    for name, column in columns.items():
        for prediction, value in zip(predictions, column, strict=True):
            prediction[name] = value
    return predictions


def ranking(scores: Floats, k: int) -> Integers:
    """The k classes of highest score in each row, best first, ties by lowest index; shape (B, k)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def _top_k(probabilities: Floats, k: int, labels: Sequence[str]) -> Sequence[Any]:
    order = ranking(probabilities, k)
    chosen = np.take_along_axis(probabilities, order, axis=1)  # (B, k)
    return [
        [
            {"label": labels[index], "class_index": index, "probability": probability}
            for index, probability in zip(indices, row, strict=True)
        ]
        for indices, row in zip(order.tolist(), chosen.tolist(), strict=True)
    ]


def _experts(outputs: Tensors) -> Sequence[Any]:
    parts = [outputs[name].tolist() for name in ("experts", "weights", "similarity")]  # (B, L, K) each
    return [
        [
            {"layer": layer, "expert": expert, "weight": weight, "similarity": similarity}
            for layer, chosen in enumerate(zip(*row, strict=True))
            for expert, weight, similarity in zip(*chosen, strict=True)
            if expert != NO_EXPERT
        ]
        for row in zip(*parts, strict=True)
    ]
