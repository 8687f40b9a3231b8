from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rbm_training.data.sparse_rows import (
    SparseRows,
    beside,
    column_deviation,
    column_means,
    dense_row,
    dropout,
    only_features,
    only_positions,
    rows_of,
    squared_norms,
    to_dense,
    unit_rows,
    weighted_sums,
)
from tests.training.objects import CPU, dense_of, routed_student
from tests.training.tensor_sizes import TensorSizes

B, F, P = 7, 11, 3


@pytest.fixture
def matrix():
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((B, F)).astype(np.float32)
    dense[generator.random((B, F)) < 0.7] = 0
    dense[2] = 0
    return dense


@pytest.fixture
def positions():
    return torch.randn(B, P, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def both(matrix, positions):
    """The same rows dense and sparse."""
    sparse = beside(rows_of(sp.csr_array(matrix), CPU), positions)
    assert isinstance(sparse, SparseRows)
    return beside(rows_of(matrix, CPU), positions), sparse


def test_rows_are_as_wide_as_both_blocks(both):
    dense, sparse = both
    assert sparse.shape == tuple(dense.shape) == (B, F + P)
    torch.testing.assert_close(dense_of(sparse), dense)


@pytest.mark.parametrize("chosen", [[3], [], [6, 0, 2, 2], list(range(B))])
def test_rows_are_taken_in_any_order(both, chosen):
    dense, sparse = both
    rows = torch.tensor(chosen, dtype=torch.long)
    torch.testing.assert_close(dense_of(sparse[rows]), dense[rows])


@pytest.mark.parametrize(
    "operation",
    [
        unit_rows,
        squared_norms,
        column_deviation,
        column_means,
        to_dense,
        lambda rows: dense_row(rows, 3),
        lambda rows: dense_row(rows, 2),
    ],
    ids=[
        "unit_rows",
        "squared_norms",
        "column_deviation",
        "column_means",
        "to_dense",
        "dense_row",
        "dense_row of zeros",
    ],
)
def test_an_operation_gives_the_same_on_dense_and_sparse_rows(both, operation):
    dense, sparse = both
    torch.testing.assert_close(dense_of(operation(sparse)), operation(dense))


def test_weighted_sums_are_the_same(both):
    weights = torch.rand(B, 4)
    torch.testing.assert_close(weighted_sums(weights, both[1]), weighted_sums(weights, both[0]))


def test_products_and_their_gradients_are_the_same(both):
    weight = torch.randn(F + P, 5)
    gradients = []
    for rows in (*both, both[1].with_layout(), both[1].with_layout()[torch.arange(B)]):
        leaf = weight.clone().requires_grad_()
        product = rows @ leaf
        (product**2).sum().backward()
        gradients.append((product.detach(), leaf.grad))
    for found in gradients[1:]:
        torch.testing.assert_close(found, gradients[0])


def test_stored_values_that_are_learnt_have_a_gradient_too(both):
    dense, sparse = both
    weight = torch.randn(F + P, 5)
    dense = dense.clone().requires_grad_()
    ((dense @ weight) ** 2).sum().backward()
    values = sparse.values.clone().requires_grad_()
    ((replace(sparse, values=values) @ weight) ** 2).sum().backward()
    torch.testing.assert_close(values.grad, dense.grad[sparse.row_of_each(), sparse.columns])


@pytest.mark.parametrize("matrix", [np.ones((200, 50), np.float32), sp.csr_array(np.ones((200, 50)))])
def test_dropout_keeps_zeros_and_scales_what_stays(matrix):
    rows = beside(rows_of(matrix, CPU), torch.zeros(200, 3))
    torch.manual_seed(0)
    dropped = dense_of(dropout(rows, 0.25, training=True))
    assert sorted(dropped.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert float((dropped[:, :50] == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert (dropped[:, 50:] == 0).all()
    for unchanged in (dropout(rows, 0.25, training=False), dropout(rows, 0.0, training=True)):
        assert dense_of(unchanged).equal(dense_of(rows))


def test_a_student_says_the_same_of_dense_and_sparse_features(matrix, positions):
    student = routed_student(F, P).double()
    exact = positions.double()
    dense = student(torch.from_numpy(matrix).double(), exact)
    sparse = student(rows_of(sp.csr_array(matrix), CPU).to(torch.float64), exact)
    torch.testing.assert_close(sparse.logits, dense.logits)
    for left, right in zip(sparse.layers, dense.layers, strict=True):
        assert left.experts.equal(right.experts)
        torch.testing.assert_close(left.routing_margin, right.routing_margin)


@pytest.mark.parametrize("operation", [only_features, only_positions])
def test_a_block_is_left_out_of_dense_and_sparse_rows_alike(both, operation):
    dense, sparse = both
    kept = slice(0, F) if operation is only_features else slice(F, F + P)
    wanted = torch.zeros_like(dense)
    wanted[:, kept] = dense[:, kept]
    assert torch.equal(operation(dense, F), wanted)
    assert torch.equal(dense_of(operation(sparse, F)), wanted)
    weight = torch.randn(F + P, 5)
    torch.testing.assert_close(operation(sparse, F) @ weight, wanted @ weight)


def test_a_row_of_zeros_has_a_gradient_of_no_more_than_its_neighbors(both):
    for rows in both:
        values = rows if isinstance(rows, torch.Tensor) else rows.dense
        values.data[2] = 0  # its features are zeros already
        leaf = values.detach().clone().requires_grad_()
        changed = leaf if isinstance(rows, torch.Tensor) else replace(rows, dense=leaf)
        (unit_rows(changed) @ torch.ones(F + P, 1)).sum().backward()
        assert leaf.grad.isfinite().all()
        assert leaf.grad[2].abs().max() <= 1


def test_weighted_sums_of_sparse_rows_make_no_number_for_each_value_and_weight(both):
    weights = torch.rand(len(both[0]), 8)
    with TensorSizes() as sizes:
        weighted_sums(weights, both[1])
    assert sizes.largest < 8 * len(both[1].values)
