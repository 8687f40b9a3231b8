import pytest
import scipy.sparse as sp
import torch

from rbm_training.data.sparse_rows import beside, rows_of
from rbm_training.distillation.adversarial import move_against
from tests.training.objects import CPU, dense_of, routed_student

F = 6
RADIUS = 0.1


def inputs_of(sparse, position_width=4, num_rows=30):
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(num_rows, F, generator=generator)
    features[torch.rand(num_rows, F, generator=generator) < 0.6] = 0
    features[3] = 0
    positions = 5 * torch.randn(num_rows, position_width, generator=generator)
    return beside(rows_of(sp.csr_array(features.numpy()) if sparse else features.numpy(), CPU), positions)


def mean_loss(logits):
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3)


def moved_by(student, inputs):
    torch.manual_seed(0)
    return move_against(student, inputs, mean_loss, RADIUS)


@pytest.mark.parametrize("position_width", [4, 0])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["rbm", "moe", "mlp"])
def test_inputs_stay_within_the_radius_of_their_block_and_raise_the_loss(kind, sparse, position_width):
    student = routed_student(F, position_width, kind=kind, gains=False)
    inputs = inputs_of(sparse, position_width)
    moved = moved_by(student, inputs)
    shift = (dense_of(moved) - dense_of(inputs)).abs()
    stored = inputs.values if sparse else inputs[:, :F]
    reach = RADIUS * stored.pow(2).mean().sqrt()
    assert 0.5 * reach < shift[:, :F].max() <= 1.001 * reach
    if position_width:
        reach = RADIUS * dense_of(inputs)[:, F:].pow(2).mean().sqrt()
        assert 0.5 * reach < shift[:, F:].max() <= 1.001 * reach
    before, after = (mean_loss(student.classify(rows).logits) for rows in (inputs, moved))
    assert after > before
    assert after.isfinite()


def test_zeros_of_sparse_features_stay_zero():
    inputs = inputs_of(sparse=True)
    moved = moved_by(routed_student(F, 4), inputs)
    zero = dense_of(inputs)[:, :F] == 0
    assert (dense_of(moved)[:, :F][zero] == 0).all()
    assert torch.equal(moved.columns, inputs.columns)


def test_the_student_keeps_its_mode_and_gets_no_gradient():
    for training in (False, True):
        student = routed_student(F, 4, kind="moe", gains=False).train(training)
        moved = moved_by(student, inputs_of(sparse=False))
        assert student.training == training
        assert all(parameter.grad is None for parameter in student.parameters())
        assert not moved.requires_grad


def test_a_batch_without_any_feature_can_be_moved():
    nothing = rows_of(sp.csr_array((5, F), dtype="float32"), CPU)
    moved = moved_by(routed_student(F, 4), beside(nothing, torch.randn(5, 4)))
    assert dense_of(moved).isfinite().all()
