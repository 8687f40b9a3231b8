import math

import pytest
import torch

from rbm_training.evaluation.metrics import accuracy, agreement, kl_divergence, mean_and_deviation


def test_accuracy_is_the_share_of_right_answers():
    assert accuracy(torch.tensor([[1.0, 0], [0, 1], [2, 1], [0, 3]]), torch.tensor([0, 1, 1, 1])) == 0.75


def test_agreement_is_the_share_of_the_same_answers_right_or_wrong():
    student, teacher = torch.tensor([[1.0, 0], [0, 1], [2, 1]]), torch.tensor([[9.0, 0], [1, 0], [2, 1]])
    assert agreement(student, teacher) == pytest.approx(2 / 3)


def test_divergence_from_the_teacher_is_that_of_a_hand_calculation():
    teacher = torch.tensor([[0.0, 0.0]])  # even odds
    student = torch.log(torch.tensor([[0.75, 0.25]])) + 3
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert kl_divergence(teacher, student) == pytest.approx(expected)
    assert kl_divergence(student, student) == 0


def test_a_single_run_has_no_deviation():
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_and_deviation([0.4, 0.6]) == pytest.approx((0.5, 2**0.5 / 10))
