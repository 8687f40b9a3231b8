"""How far the confidence of predictions can be trusted, and the temperature that mends it.

Dimension letters: N nodes, C classes, J confidence bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

NUM_CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class Reliability:
    """Test nodes in J bins of equal width of confidence. Shapes: mean confidence, accuracy, count (J,)."""

    confidence: npt.NDArray[np.floating[Any]]
    accuracy: npt.NDArray[np.floating[Any]]
    count: npt.NDArray[np.integer[Any]]

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean |accuracy − confidence| over nodes."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(np.average(gaps, weights=self.count[filled]))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimises the likelihood loss of validation rows (Guo et al. 2017).

    A label counts as right with probability (N+1)/(N+2) and not 1 (Platt 1999): else N rows that are all
    classified correctly would ask for a confidence of 1 everywhere.
    """
    N, C = logits.shape
    smoothing = C / (C - 1) / (N + 2)  # of which each label gets its share back

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / float(np.exp(log_temperature))
        return float(torch.nn.functional.cross_entropy(scaled, labels, label_smoothing=smoothing))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def bin_by_confidence(probabilities: Tensor, labels: Tensor) -> Reliability:
    """How right rows are by how sure they are; probabilities (N, C), labels (N,). Empty bins are NaN."""
    most, predicted = probabilities.double().max(dim=1)
    correct, confidence = (predicted == labels).cpu().numpy(), most.cpu().numpy()
    bins = np.minimum((confidence * NUM_CALIBRATION_BINS).astype(int), NUM_CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=NUM_CALIBRATION_BINS)
    sums = (np.bincount(bins, weights, NUM_CALIBRATION_BINS) for weights in (confidence, correct))
    means = (np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0) for total in sums)
    confidences, accuracies = means
    return Reliability(confidences, accuracies, count)


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error: mean |accuracy − confidence| over bins of equal width, by row share."""
    return bin_by_confidence(probabilities, labels).expected_error
