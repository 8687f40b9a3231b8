import pytest
import torch

from rbm_training.evaluation.metrics import accuracy, mean_and_deviation


def test_accuracy_is_the_share_of_right_answers():
    assert accuracy(torch.tensor([[1.0, 0], [0, 1], [2, 1], [0, 3]]), torch.tensor([0, 1, 1, 1])) == 0.75


def test_a_single_run_has_no_deviation():
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_and_deviation([0.4, 0.6]) == pytest.approx((0.5, 2**0.5 / 10))
