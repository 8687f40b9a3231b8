import pytest
import torch
from torch import nn

from rbm_training.distillation.gram import GramTerm

EVERYONE = torch.arange(40)


def term_of(teacher, width):
    """The term on the student's own representation, without the layer in between."""
    term = GramTerm(width, teacher, dropout=0.0)
    term.head = nn.Identity()
    return term


def test_representations_alike_up_to_rotation_and_length_have_no_loss():
    teacher = torch.randn(40, 8)
    rotation = torch.linalg.qr(torch.randn(8, 8)).Q
    lengths = 0.1 + 10 * torch.rand(40, 1)
    assert float(term_of(teacher, 8)(lengths * (teacher @ rotation), EVERYONE)) < 1e-10
    wider = nn.functional.pad(teacher, (0, 5))
    assert float(term_of(teacher, 13)(wider, EVERYONE)) < 1e-10


def test_the_loss_is_the_mean_squared_difference_of_cosines():
    teacher, student = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[3.0, 0], [3, 4]])
    loss = term_of(teacher, 2)(student, torch.arange(2))
    assert float(loss) == pytest.approx(2 * 0.6**2 / 4)


def test_rows_of_a_batch_are_compared_with_their_own_teachers():
    teacher = torch.randn(40, 8)
    rows = torch.tensor([7, 3, 11, 20])
    assert float(term_of(teacher, 8)(teacher[rows], rows)) < 1e-10
    assert float(term_of(teacher, 8)(teacher[rows], rows.flip(0))) > 0.01


def test_at_most_512_rows_are_compared():
    teacher = torch.randn(600, 4)
    student = teacher.clone()
    student[512:] = torch.randn(88, 4)
    assert float(term_of(teacher, 4)(student, torch.arange(600))) < 1e-10


def test_the_gradient_reaches_the_representation_through_a_layer_of_its_own():
    term = GramTerm(6, torch.randn(40, 8), dropout=0.0)
    representation = torch.randn(40, 6, requires_grad=True)
    term(representation, EVERYONE).backward()
    assert representation.grad.abs().sum() > 0
    assert all(parameter.grad.any() for parameter in term.parameters())


def test_a_node_whose_representations_are_zero_is_like_no_other_and_has_a_gradient():
    teacher = torch.randn(40, 8)
    teacher[0] = 0
    representation = torch.randn(40, 8, requires_grad=True)
    representation.data[1] = 0
    loss = term_of(teacher, 8)(representation, EVERYONE)
    loss.backward()
    assert loss.isfinite()
    assert representation.grad.abs().max() < 10
