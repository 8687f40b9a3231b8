"""From a batcher's answer to predictions as a caller reads them. Pure functions.

Dimension letters: B rows, C classes, L layers, K experts per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rbm_bundle.manifest import NO_EXPERT
from rbm_bundle.nodes import Floats, Integers
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.batch import Answer
from rbm_service.inference.preprocessing import EncodedRows, NodeQuery
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


@dataclass(slots=True)
class DecodedRows:
    """Predictions as a caller reads them, and how many of them abstain."""

    predictions: list[dict[str, Any]]
    num_abstained: int


def check_options(options: AnswerOptions, num_classes: int) -> None:
    """Refuse options that this model cannot honour.

    Raises:
        InvalidRequestError: more classes asked for than there are.
    """
    if options.top_k > num_classes:
        raise InvalidRequestError.at(
            "top_k", msg=f"found {options.top_k}, wanted at most {num_classes} (classes)"
        )


def decode(
    answer: Answer, query: NodeQuery, rows: EncodedRows, options: AnswerOptions, labels: Sequence[str]
) -> DecodedRows:
    """Predictions from a batcher's answer: one object per row, with everything that was asked for."""
    node_ids = [None] * rows.num_rows if query.node_ids is None else query.node_ids
    predictions: list[dict[str, Any]] = [
        {
            "node_id": node_id,
            "label": labels[index],
            "class_index": index,
            "confidence": p,
            "position": source,
        }
        for node_id, index, p, source in zip(
            node_ids, answer.class_index, answer.confidence, rows.sources, strict=True
        )
    ]
    num_abstained = 0
    for name, column in _columns(answer, options, labels).items():
        for prediction, value in zip(predictions, column, strict=True):
            prediction[name] = value
    if options.min_confidence is not None:
        num_abstained = _abstain(predictions, options.min_confidence)
    return DecodedRows(predictions, num_abstained)


def _columns(answer: Answer, options: AnswerOptions, labels: Sequence[str]) -> dict[str, Column]:
    """What a caller asked for besides."""
    columns: dict[str, Column] = {}
    if options.top_k > 1:
        columns["top_k"] = _top_k(answer.outputs["probabilities"], options.top_k, labels)
    if options.return_probabilities:
        columns["probabilities"] = answer.outputs["probabilities"].tolist()
    if options.explain:
        columns["experts"] = _experts(answer.outputs)
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
