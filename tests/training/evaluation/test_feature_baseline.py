import numpy as np

from rbm_training.evaluation.feature_baseline import fit_baseline


def test_the_baseline_learns_from_features_alone():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.standard_normal((60, 3)).astype(np.float32) + 4 * labels[:, None]
    baseline = fit_baseline(features, labels, np.arange(20), np.arange(20, 40), 2)
    assert baseline.accuracy(features[40:], labels[40:]) > 0.9


def test_weights_of_classes_shift_its_answers():
    generator = np.random.default_rng(0)
    labels = (np.arange(200) % 10 == 0).astype(np.int64)
    features = generator.standard_normal((200, 3)).astype(np.float32) + labels[:, None]
    nodes = np.arange(200)
    plain, alike, rare = (
        fit_baseline(features, labels, nodes, nodes, 2, (1.0,), weights)
        for weights in (None, np.ones(2, np.float32), np.array([1, 9], np.float32))
    )
    np.testing.assert_array_equal(alike.weight, plain.weight)
    recalls = [each.accuracy(features[labels == 1], labels[labels == 1]) for each in (plain, rare)]
    assert recalls[0] + 0.1 < recalls[1]
