import pytest
import torch

from rbm_training.data.scaling import InputScaling


def test_scaled_inputs_do_not_depend_on_the_length_of_the_rows():
    scaling = InputScaling(3, "l2", 0.5)
    features, positions = torch.randn(5, 3), torch.randn(5, 2)
    scaled = scaling(features, positions)
    torch.testing.assert_close(scaling(7 * features, 0.1 * positions), scaled)
    torch.testing.assert_close(scaled[:, :3].norm(dim=1), torch.ones(5))
    torch.testing.assert_close(scaled[:, 3:].norm(dim=1), torch.full((5,), 0.5))
    assert scaling(torch.zeros(1, 3), torch.zeros(1, 2)).abs().sum() == 0


@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.3, 0.0, -3.7])
def test_a_constant_column_is_shifted_and_never_blown_up(constant):
    features = torch.full((400, 1), constant)
    scaled = InputScaling(1, "standardised", None).fit(features).scale_features(features + 0.05)
    assert scaled.abs().max() < 0.2


def test_standardised_columns_have_mean_zero_and_deviation_one():
    features = torch.randn(200, 3) * torch.tensor([1.0, 5.0, 0.0]) + 4
    scaled = InputScaling(3, "standardised", None).fit(features).scale_features(features)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        scaled.std(dim=0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-5, rtol=0
    )
