"""Which epoch is kept: decided on validation, never on test.

A better epoch has a strictly higher validation accuracy, or the same and a lower validation loss.
"""

import copy
import math
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from rbm_training.errors import TrainingError


class DivergedError(TrainingError):
    """A training that left the numbers."""


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch, measured in evaluation mode. `test_accuracy` is recorded, never selected on.
    It is nan where nobody reads it, as with teachers.

    With pseudo-unseen nodes, validation is a mean over both kinds of validation nodes, observed and
    pseudo-unseen, each with a weight of its own.
    """

    epoch: int
    val_accuracy: float
    val_loss: float
    test_accuracy: float = math.nan

    @property
    def preference(self) -> tuple[float, float]:
        """What is compared, the larger the better: validation accuracy, then the lower validation loss."""
        return self.val_accuracy, -self.val_loss


class EarlyStopping:
    """Keeps the best state of a model, and says when waiting for a better one is over.

    Args:
        patience: epochs to wait for a better one.
        watches_loss: wait on while the lowest validation loss is as recent, so that a slow start, in which
            every node is still given the commonest class, is not taken for the end.
    """

    accuracy_name: ClassVar[str] = "val_accuracy"
    """What the accuracy is called by which epochs are told."""

    def __init__(self, patience: int, watches_loss: bool = False) -> None:
        self.patience = patience
        self._watches_loss = watches_loss
        self._lowest_loss = math.inf
        self.history: list[EpochMetrics] = []
        self.best: EpochMetrics | None = None
        self._state: dict[str, Any] | None = None
        self._waited = 0

    def observe(self, metrics: EpochMetrics, model: nn.Module) -> None:
        """Take an epoch in; keeps a copy of the model's state if it is the best so far.

        Raises:
            DivergedError: the validation loss is not finite; no later epoch would mend that.
        """
        check_finite(metrics, model)
        self.history.append(metrics)
        self._waited += 1
        if self._watches_loss and metrics.val_loss < self._lowest_loss:
            self._lowest_loss = metrics.val_loss
            self._waited = 0
        if self.best is None or metrics.preference > self.best.preference:
            self.best = metrics
            self._state = copy.deepcopy(model.state_dict())
            self._waited = 0

    def told(self, metrics: EpochMetrics) -> str:
        """The accuracy of an epoch, for who looks on."""
        return f"{self.accuracy_name} {metrics.val_accuracy:.3f}"

    def reset(self) -> None:
        """Start choosing afresh, with full patience; the history stays."""
        self.best, self._state, self._waited = None, None, 0

    @property
    def exhausted(self) -> bool:
        """Whether patience ran out."""
        return self._waited >= self.patience

    def restore(self, model: nn.Module) -> EpochMetrics:
        """Load the best state back and return its metrics."""
        if self.best is None or self._state is None:
            raise ValueError("no epoch was observed")
        model.load_state_dict(self._state)
        return self.best

    @property
    def test_accuracy_max(self) -> float:
        """Highest test accuracy of any epoch: what the paper's released code reports. Inflated."""
        return max(metrics.test_accuracy for metrics in self.history)


class LastEpoch(EarlyStopping):
    """Keeps the last epoch of a training whose length was found before, and that has nothing to select on."""

    accuracy_name = "train_accuracy"

    def __init__(self) -> None:
        super().__init__(patience=sys.maxsize)

    def observe(self, metrics: EpochMetrics, model: nn.Module) -> None:
        """Take an epoch in."""
        check_finite(metrics, model)
        self.history.append(metrics)
        self.best = metrics

    def restore(self, model: nn.Module) -> EpochMetrics:
        """Leave the model as it is."""
        assert self.best is not None, "an epoch was observed"
        return self.best


def check_finite(metrics: EpochMetrics, model: nn.Module) -> None:
    """Refuse to go on from an epoch that no later one would mend.

    Raises:
        DivergedError: the validation loss is not finite.
    """
    if not math.isfinite(metrics.val_loss):
        raise DivergedError(
            f"training of {type(model).__name__}: found a validation loss of {metrics.val_loss} at epoch"
            f" {metrics.epoch}; wanted a finite one, which a smaller learning_rate may give"
        )
