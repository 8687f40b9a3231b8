import numpy as np
import pytest
import torch

from rbm_training.evaluate import (
    accuracy,
    calibration_error,
    fit_baseline,
    fit_temperature,
    mean_and_deviation,
)


def test_accuracy_is_the_share_of_right_answers():
    assert accuracy(torch.tensor([[1.0, 0], [0, 1], [2, 1], [0, 3]]), torch.tensor([0, 1, 1, 1])) == 0.75


def test_the_fitted_temperature_undoes_a_known_overconfidence():
    torch.manual_seed(0)
    honest = torch.randn(20_000, 4)
    labels = torch.distributions.Categorical(logits=honest).sample()
    assert fit_temperature(3 * honest, labels) == pytest.approx(3, rel=0.05)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 10)
    assert calibration_error(probabilities, torch.tensor([0] * 9 + [1])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(probabilities, torch.tensor([0] * 4 + [1] * 6)) == pytest.approx(0.5, abs=1e-6)


def test_the_baseline_learns_from_features_alone():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.standard_normal((60, 3)).astype(np.float32) + 4 * labels[:, None]
    baseline = fit_baseline(features[:20], labels[:20], features[20:40], labels[20:40])
    assert baseline.accuracy(features[40:], labels[40:]) > 0.9


def test_a_single_run_has_no_deviation():
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_and_deviation([0.4, 0.6]) == pytest.approx((0.5, 2**0.5 / 10))
