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


@pytest.mark.parametrize("num_rows", [30, 300])
def test_rows_that_are_all_right_do_not_ask_for_certainty(num_rows):
    logits = torch.tensor([[4.0, 0, 0]]).repeat(num_rows, 1)
    temperature = fit_temperature(logits, torch.zeros(num_rows, dtype=torch.long))
    assert float((logits / temperature).softmax(dim=1)[0, 0]) == pytest.approx(
        (num_rows + 1) / (num_rows + 2), rel=1e-3
    )
