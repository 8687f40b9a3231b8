import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbm_bundle.features import CsrFeatures, csr_from_dense

DENSE = np.array([[0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 3, 5], [0, 0, 0, 4]], np.float32)


def test_the_longest_row_says_how_wide_padded_rows_are():
    padded = csr_from_dense(DENSE).to_padded()
    np.testing.assert_array_equal(padded.ids, [[1, 4, 4], [4, 4, 4], [0, 2, 3], [3, 4, 4]])
    np.testing.assert_array_equal(padded.values, [[2, 0, 0], [0, 0, 0], [1, 3, 5], [4, 0, 0]])
    assert padded.ids.dtype == np.int64
    assert padded.values.dtype == np.float32


def test_rows_of_zeros_are_one_padding_wide():
    padded = csr_from_dense(DENSE[[1, 1]]).to_padded()
    assert padded.ids.tolist() == [[4], [4]]
    assert padded.values.tolist() == [[0], [0]]


@pytest.mark.parametrize("rows", [[], [1], [3, 0], [2, 2, 1]])
def test_rows_are_taken_in_the_order_asked_for(rows):
    taken = csr_from_dense(DENSE).take(np.array(rows, np.int64))
    assert taken.num_rows == len(rows)
    np.testing.assert_array_equal(taken.to_dense(), DENSE[rows])


@given(st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0]), min_size=5, max_size=5), min_size=1))
def test_dense_and_sparse_are_the_same_matrix(matrix):
    dense = np.array(matrix, np.float32)
    sparse: CsrFeatures = csr_from_dense(dense)
    np.testing.assert_array_equal(sparse.to_dense(), dense)
    padded = sparse.to_padded()
    wide = np.zeros((len(dense), 6), np.float32)  # the last column takes the padding
    np.put_along_axis(wide, padded.ids, padded.values, axis=1)
    np.testing.assert_array_equal(wide[:, :5], dense)


def test_padded_rows_say_what_the_matrix_says():
    padded = csr_from_dense(DENSE).to_padded()
    assert padded.lengths.tolist() == [1, 0, 3, 1]
    np.testing.assert_array_equal(padded.to_csr().to_dense(), DENSE)
