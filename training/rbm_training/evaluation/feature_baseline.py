"""Logistic regression, the baseline that sees no graph.

Dimension letters: N nodes, F features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from rbm_training.data.graph import Features, Floats, Integers

STRENGTHS: Final = (1.0, 10.0, 100.0, 1000.0)
NEVER: Final = -30.0  # the logit of a class that no training label has: e^-30 is no share of any answer


@dataclass(frozen=True, slots=True)
class Baseline:
    """Logistic regression on the features alone: weight (F, C), bias (C,), and scikit-learn's C of it."""

    weight: Floats
    bias: Floats
    strength: float

    def logits(self, features: Features) -> Floats:
        """Logits (N, C) of scaled features (N, F)."""
        logits: Floats = features @ self.weight + self.bias
        return logits

    def accuracy(self, features: Features, labels: Integers) -> float:
        """Accuracy on scaled features (N, F)."""
        return float((self.logits(features).argmax(axis=1) == labels).mean())


def fit_baseline(
    features: Features,
    labels: Integers,
    train: Integers,
    val: Integers,
    num_classes: int,
    strengths: Sequence[float] = STRENGTHS,
    class_weights: Floats | None = None,
) -> Baseline:
    """Fit the training nodes with a few strengths and keep the best by validation accuracy, the lightest of
    equals.

    Shapes: features (N, F), scaled; labels (N,); train and val index rows; class_weights (C,), of training
    labels.
    """
    model = LogisticRegression(max_iter=2000, warm_start=True)
    weights = None if class_weights is None else class_weights[labels[train]]
    fitted = []
    for strength in sorted(strengths):
        model.set_params(C=strength).fit(features[train], labels[train], sample_weight=weights)
        fitted.append(_as_baseline(model, num_classes, strength))
    return max(fitted, key=lambda baseline: baseline.accuracy(features[val], labels[val]))


def _as_baseline(model: LogisticRegression, num_classes: int, strength: float) -> Baseline:
    weight = np.zeros((model.coef_.shape[1], num_classes), np.float32)
    bias = np.full(num_classes, NEVER, np.float32)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn keeps the second alone
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.append(0.0, intercepts)
    weight[:, model.classes_], bias[model.classes_] = coefficients.T, intercepts
    return Baseline(weight, bias, strength)
