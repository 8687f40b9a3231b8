"""Logistic regression, the baseline that sees no graph.

Dimension letters: N nodes, F features.
"""

from dataclasses import dataclass

from sklearn.linear_model import LogisticRegression

from rbm_training.data.graph import Features, Integers

BASELINE_STRENGTHS = (1.0, 10.0, 100.0, 1000.0)


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
