"""How good the answers are: accuracy, calibration, and the baseline that sees no graph.

Dimension letters: N nodes, F features, C classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from rbm_training.graph import Features, Integers
from rbm_training.portrait import Reliability

NUM_CALIBRATION_BINS = 15
BASELINE_STRENGTHS = (1.0, 10.0, 100.0, 1000.0)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest logit is the label; logits (N, C), labels (N,). NaN without rows."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimises the likelihood loss of validation rows (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / float(np.exp(log_temperature))
        return float(torch.nn.functional.cross_entropy(scaled, labels))

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


@dataclass(frozen=True, slots=True)
class Baseline:
    """Logistic regression on the features alone, its strength chosen on validation."""

    model: LogisticRegression

    def accuracy(self, features: Features, labels: Integers) -> float:
        """Accuracy on scaled features (N, F)."""
        return float((self.model.predict(features) == labels).mean())


def fit_baseline(train: Features, train_labels: Integers, val: Features, val_labels: Integers) -> Baseline:
    """The best of a few regularisation strengths, by validation accuracy; the lightest of equals."""
    fitted = [
        Baseline(LogisticRegression(C=strength, max_iter=2000).fit(train, train_labels))
        for strength in BASELINE_STRENGTHS
    ]
    return max(fitted, key=lambda baseline: baseline.accuracy(val, val_labels))


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean over runs and sample standard deviation, None for a single run."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation
