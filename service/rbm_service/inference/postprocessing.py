"""From the outputs of a request to the answer its caller reads.

Dimension letters: B rows, C classes, L layers, K experts per row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from pydantic_core import to_json

from rbm_bundle.manifest import NO_EXPERT
from rbm_bundle.nodes import Floats, Integers, NodeId
from rbm_service.inference.batch import BatchSlice, RequestOutputs
from rbm_service.runtime.tensors import Tensors

Column = Sequence[Any]


class AnswerOptions(Protocol):
    """What a caller wants to read about each row: fields of its request."""

    @property
    def top_k(self) -> int:
        """How many classes to list."""

    @property
    def return_probabilities(self) -> bool:
        """Whether to give the probability of every class."""

    @property
    def explain(self) -> bool:
        """Whether to name the experts."""

    @property
    def min_confidence(self) -> float | None:
        """Below this probability the answer abstains."""


def values_per_row(options: AnswerOptions, outputs: RequestOutputs) -> int:
    """How many names and numbers the answer takes for one row: 5, 3 for each further class, 4 an expert."""
    num_values = 5 + 3 * (options.top_k - 1)
    if options.return_probabilities:
        num_values += outputs.outputs["probabilities"].shape[1]
    if options.explain:
        _, L, K = outputs.outputs["experts"].shape
        num_values += 4 * L * K
    return num_values


def write_answer(
    model: Mapping[str, object],
    outputs: RequestOutputs,
    node_ids: Sequence[NodeId | None] | None,
    sources: Sequence[str],
    options: AnswerOptions,
    labels: Sequence[str],
    rows_at_once: int,
) -> tuple[bytes, int]:
    """The answer as JSON, one prediction per row with everything that was asked for, and how many abstain.

    Args:
        model: which answers.
        sources: where the position of each row came from, (B,).
        rows_at_once: written out in one go; between two such pieces, other threads have their turn.
    """
    parts, num_abstained, B = [], 0, len(sources)
    ids = [None] * B if node_ids is None else node_ids
    for start in range(0, B, rows_at_once):
        predictions = decode(outputs, ids, sources, options, labels, slice(start, start + rows_at_once))
        if options.min_confidence is not None:
            num_abstained += _abstain(predictions, options.min_confidence)
        parts.append(to_json(predictions)[1:-1])
    return b'{"model":%b,"predictions":[%b]}' % (to_json(model), b",".join(parts)), num_abstained


def decode(
    outputs: RequestOutputs,
    node_ids: Sequence[NodeId | None],
    sources: Sequence[str],
    options: AnswerOptions,
    labels: Sequence[str],
    span: slice,
) -> list[dict[str, Any]]:
    """Predictions for some of the rows of a request."""
    classes, confidences = outputs.class_index[span], outputs.confidence[span]
    predictions: list[dict[str, Any]] = [
        {"node_id": i, "label": labels[index], "class_index": index, "confidence": p, "position": source}
        for i, index, p, source in zip(node_ids[span], classes, confidences, sources[span], strict=True)
    ]
    if options.top_k > 1 or options.return_probabilities or options.explain:
        for name, column in _columns(BatchSlice(outputs.outputs, span), options, labels).items():
            for prediction, value in zip(predictions, column, strict=True):
                prediction[name] = value
    return predictions


def _columns(outputs: Tensors, options: AnswerOptions, labels: Sequence[str]) -> dict[str, Column]:
    """What a caller asked for besides."""
    columns: dict[str, Column] = {}
    if options.top_k > 1:
        columns["top_k"] = _top_k(outputs["probabilities"], options.top_k, labels)
    if options.return_probabilities:
        columns["probabilities"] = outputs["probabilities"].tolist()
    if options.explain:
        columns["experts"] = _experts(outputs)
    return columns


def _abstain(predictions: Sequence[dict[str, Any]], min_confidence: float) -> int:
    """Take the label from those that are not sure enough, and say so of each; returns how many they are."""
    for prediction in predictions:
        prediction["abstained"] = prediction["confidence"] < min_confidence
        if prediction["abstained"]:
            prediction["label"] = None
    return sum(prediction["abstained"] for prediction in predictions)


def ranking(scores: Floats, k: int) -> Integers:
    """The k classes of highest score in each row, best first, ties by lowest index; shape (B, k)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def _top_k(probabilities: Floats, k: int, labels: Sequence[str]) -> Column:
    order = ranking(probabilities, k)
    chosen = np.take_along_axis(probabilities, order, axis=1)  # (B, k)
    return [
        [
            {"label": labels[index], "class_index": index, "probability": probability}
            for index, probability in zip(indices, row, strict=True)
        ]
        for indices, row in zip(order.tolist(), chosen.tolist(), strict=True)
    ]


def _experts(outputs: Tensors) -> Column:
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
