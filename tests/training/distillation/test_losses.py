import pytest
import torch

from rbm_training.data.sparse_rows import unit_rows
from rbm_training.distillation.losses import (
    distillation_sum,
    self_similarity,
    soft_targets,
    tempered_log_probabilities,
)
from tests.training.tensor_sizes import TensorSizes

B, C = 7, 5


@pytest.fixture
def logits():
    torch.manual_seed(3)
    return torch.randn(B, C, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def teacher():
    torch.manual_seed(4)
    return 2 * torch.randn(B, C, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_raw_gradient_is_that_of_the_released_code(logits, teacher, temperature):
    targets = soft_targets(teacher, temperature, "raw_logprob")
    (distillation_sum(logits, targets, temperature, "raw_logprob") / B).backward()
    tempered = teacher.log_softmax(dim=1) / temperature
    size = tempered.exp().sum(dim=1, keepdim=True)
    wanted = (size / temperature) * (logits.softmax(dim=1) - tempered.softmax(dim=1)) / B
    torch.testing.assert_close(logits.grad, wanted)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_normalised_loss_is_the_divergence_of_both_tempered_sides(logits, teacher, temperature):
    targets = soft_targets(teacher, temperature, "normalised")
    found = distillation_sum(logits, targets, temperature, "normalised")
    wanted = torch.nn.functional.kl_div(
        (logits / temperature).log_softmax(dim=1),
        (teacher / temperature).softmax(dim=1),
        reduction="sum",
    )
    torch.testing.assert_close(found, wanted)


def test_the_two_temperings_agree_at_temperature_one(teacher):
    torch.testing.assert_close(
        tempered_log_probabilities(teacher, 1.0, "raw_logprob"),
        tempered_log_probabilities(teacher, 1.0, "normalised"),
    )


def test_summed_targets_equal_the_loss_pair_by_pair(logits, teacher):
    pairs = torch.tensor([[0, 0, 3, 6, 0], [1, 2, 3, 0, 1]])
    targets = soft_targets(teacher, 1.3, "normalised", pairs)
    student_side = torch.cat([torch.arange(B), pairs[0]])
    teacher_side = torch.cat([torch.arange(B), pairs[1]])
    log_student = (logits / 1.3).log_softmax(dim=1)[student_side]
    log_teacher = (teacher / 1.3).log_softmax(dim=1)[teacher_side]
    wanted = torch.nn.functional.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
    torch.testing.assert_close(distillation_sum(logits, targets, 1.3, "normalised"), wanted)
    assert targets.num_pairs.tolist() == [4, 1, 1, 2, 1, 1, 2]


def test_by_node_every_node_has_the_mean_over_its_pairs(logits, teacher):
    pairs = torch.tensor([[0, 0, 3, 6, 0], [1, 2, 3, 0, 1]])
    targets = soft_targets(teacher, 1.3, "normalised", pairs)
    by_node = targets.by_node()
    assert by_node.num_pairs.tolist() == [1] * B
    torch.testing.assert_close(by_node.mass.sum(dim=1), torch.ones(B, dtype=torch.float64))
    for node in range(B):
        alone, once = (each.rows(torch.tensor([node])) for each in (targets, by_node))
        row = logits[[node]]
        torch.testing.assert_close(
            distillation_sum(row, once, 1.3, "normalised"),
            distillation_sum(row, alone, 1.3, "normalised") / targets.num_pairs[node],
        )


def test_a_student_that_equals_its_teacher_has_no_loss(teacher):
    targets = soft_targets(teacher, 2.0, "normalised")
    assert abs(float(distillation_sum(teacher, targets, 2.0, "normalised"))) < 1e-12


def test_self_similarity_is_one_when_all_memories_agree_and_zero_when_orthogonal():
    assert float(self_similarity(torch.ones(3, 4) / 2)) == pytest.approx(1)
    assert float(self_similarity(torch.eye(3))) == 0
    assert float(self_similarity(unit_rows(torch.ones(1, 4)))) == 0


def test_no_row_is_made_for_each_pair():
    pairs = torch.randint(10, (2, 5000))
    with TensorSizes() as sizes:
        soft_targets(torch.randn(10, 4), 0.5, "normalised", pairs)
    assert sizes.largest < 4 * 5000
