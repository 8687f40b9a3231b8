import pytest
import torch

from rbm_training.evaluation.calibration import calibration_error, fit_temperature


def test_the_fitted_temperature_undoes_a_known_overconfidence():
    torch.manual_seed(0)
    honest = torch.randn(20_000, 4)
    labels = torch.distributions.Categorical(logits=honest).sample()
    assert fit_temperature(3 * honest, labels) == pytest.approx(3, rel=0.05)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 10)
    assert calibration_error(probabilities, torch.tensor([0] * 9 + [1])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(probabilities, torch.tensor([0] * 4 + [1] * 6)) == pytest.approx(0.5, abs=1e-6)
