"""Accuracy of predictions; numbers of several runs in one.

Dimension letters: N nodes, C classes.
"""

from typing import TYPE_CHECKING, TypedDict

import numpy as np

if TYPE_CHECKING:  # reports and results are read without torch
    from torch import Tensor

UNSEEN_SHARE = 0.2  # of the nodes that production sees


class RareClass(TypedDict):
    """How well a class that few test nodes have is found: its nodes, their share of the test nodes, and the
    area under the precision-recall curve of student, teacher and baseline. Guessing reaches the share."""

    name: str
    num_nodes: int
    share: float
    student: float
    teacher: float
    baseline: float


def accuracy(logits: "Tensor", labels: "Tensor") -> float:
    """Share of rows whose largest logit is the label; logits (N, C), labels (N,). NaN without rows."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def agreement(logits: "Tensor", teacher: "Tensor") -> float:
    """Share of rows whose largest logit is the teacher's; both (N, C)."""
    return accuracy(logits, teacher.argmax(dim=1))


def kl_divergence(teacher: "Tensor", logits: "Tensor") -> float:
    """Mean over rows of KL(softmax(teacher) ‖ softmax(logits)), in nats; both (N, C)."""
    expected, found = teacher.double().log_softmax(dim=1), logits.double().log_softmax(dim=1)
    return float((expected.exp() * (expected - found)).sum(dim=1).mean())


def production_accuracy(unseen: float, observed_test: float | None) -> float | None:
    """Accuracy on a fifth unseen and four fifths observed nodes; None without observed test nodes."""
    if observed_test is None:
        return None
    return UNSEEN_SHARE * unseen + (1 - UNSEEN_SHARE) * observed_test


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean over runs and sample standard deviation, None for a single run."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation
