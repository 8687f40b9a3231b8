import pytest
import torch

from rbm_training.data.sparse_product import by_column, sparse_product

B, F, H = 6, 5, 3
OFFSETS = torch.tensor([0, 2, 2, 5, 6, 9, 10])  # row 1 is empty
COLUMNS = torch.tensor([0, 3, 1, 2, 4, 3, 0, 1, 3, 2])
LAYOUT = by_column(OFFSETS, COLUMNS, F)


@pytest.fixture
def weight():
    return torch.randn(F, H, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def values():
    return torch.randn(len(COLUMNS), dtype=torch.float64, requires_grad=True)


def dense(values):
    rows = torch.arange(B).repeat_interleave(OFFSETS.diff())
    return values.new_zeros(B, F).index_put((rows, COLUMNS), values)


@pytest.mark.parametrize("layout", [None, LAYOUT], ids=["no layout", "layout"])
def test_the_product_is_that_of_dense_matrices(weight, values, layout):
    product = sparse_product(weight, OFFSETS, COLUMNS, values, layout)
    torch.testing.assert_close(product, dense(values) @ weight)


@pytest.mark.parametrize("layout", [None, LAYOUT], ids=["no layout", "layout"])
@pytest.mark.parametrize("learnt", ["weight", "values", "weight and values"])
def test_gradients_are_those_of_dense_matrices(weight, values, layout, learnt):
    weight, values = weight.requires_grad_("weight" in learnt), values.requires_grad_("values" in learnt)
    variables = [tensor for tensor in (weight, values) if tensor.requires_grad]
    into = torch.randn(B, H, dtype=torch.float64)
    product = sparse_product(weight, OFFSETS, COLUMNS, values, layout)
    found = torch.autograd.grad(product, variables, into)
    expected = torch.autograd.grad(dense(values) @ weight, variables, into)
    torch.testing.assert_close(found, expected)


def test_a_gradient_that_does_not_lie_in_one_piece_gives_the_same(weight, values):
    into = torch.randn(H, B, dtype=torch.float64).T
    product = sparse_product(weight, OFFSETS, COLUMNS, values, LAYOUT)
    found = torch.autograd.grad(product, (weight, values), into)
    expected = torch.autograd.grad(dense(values) @ weight, (weight, values), into)
    torch.testing.assert_close(found, expected)
