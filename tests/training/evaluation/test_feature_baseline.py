import numpy as np

from rbm_training.evaluation.feature_baseline import fit_baseline


def test_the_baseline_learns_from_features_alone():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.standard_normal((60, 3)).astype(np.float32) + 4 * labels[:, None]
    baseline = fit_baseline(features, labels, np.arange(20), np.arange(20, 40), 2)
    assert baseline.accuracy(features[40:], labels[40:]) > 0.9
