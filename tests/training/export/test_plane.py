import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import pdist

from rbm_training.export.plane import principal_plane


def drawn(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_rows_of_a_plane_keep_their_distances():
    rows = drawn((40, 2)) @ drawn((2, 9)) + 3
    found = principal_plane(rows).project(rows)
    np.testing.assert_allclose(pdist(found), pdist(rows), rtol=1e-4)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)


def test_the_first_axis_is_the_one_along_which_rows_spread_the_most():
    rows = drawn((200, 3)) * np.float32([1, 9, 3])
    plane = principal_plane(rows)
    assert np.abs(plane.axes).argmax(axis=1).tolist() == [1, 2]


def test_sparse_rows_lie_where_the_same_dense_ones_do():
    dense = np.where(drawn((30, 8)) > 0.5, 1, 0).astype(np.float32)
    sparse = sp.csr_array(dense)
    np.testing.assert_allclose(
        principal_plane(sparse).project(sparse), principal_plane(dense).project(dense), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(5, 1), (1, 5), (1, 1)])
def test_rows_that_span_no_plane_lie_on_its_first_axis(shape):
    rows = drawn(shape)
    found = principal_plane(rows).project(rows)
    assert found.shape == (shape[0], 2)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-6)


def test_rows_that_are_all_alike_lie_in_one_point():
    rows = np.ones((4, 3), np.float32)
    assert not principal_plane(rows).project(rows).any()
