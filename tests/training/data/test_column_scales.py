import numpy as np
import pytest
import scipy.sparse as sp

from rbm_training.data.column_scales import drowning_columns


@pytest.fixture
def ordinary():
    return np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_columns_that_leave_the_others_nothing_of_a_row_are_found_the_largest_first(ordinary, form):
    assert drowning_columns(form(ordinary)).tolist() == []
    assert drowning_columns(form(ordinary * np.geomspace(1, 100, 9, dtype=np.float32))).tolist() == []
    scales = np.ones(9, np.float32)
    scales[[2, 5]] = 1e4, 1e8
    assert drowning_columns(form(ordinary * scales)).tolist() == [5, 2]


def test_a_word_that_many_nodes_have_drowns_no_other():
    generator = np.random.default_rng(0)
    shares = np.r_[0.9, np.full(59, 0.3), np.full(2000, 0.0005)]
    words = sp.csr_array((generator.random((3000, 2060)) < shares) * np.float32(1))
    assert drowning_columns(words).tolist() == []


def test_columns_of_zeros_are_no_measure_of_the_others(ordinary):
    assert drowning_columns(np.zeros((5, 3), np.float32)).tolist() == []
    padded = np.concatenate([ordinary, np.zeros((200, 30), np.float32)], axis=1)
    assert drowning_columns(padded).tolist() == []
