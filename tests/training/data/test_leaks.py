import numpy as np
import pytest
import scipy.sparse as sp

from rbm_training.data.leaks import LEAST_LABELS, columns_of_the_label

LABELS = np.repeat([0, 1, 2, -1], [30, 20, 10, 15])


def marks(*nodes):
    """A column of ones at some of the nodes."""
    column = np.zeros(len(LABELS))
    column[list(nodes)] = 1
    return column


COLUMNS = {
    "noise": (np.random.default_rng(0).random(75), False),
    "the label": (LABELS * 2.5, True),
    "a mark of one class": (marks(*range(30, 50)), True),
    "all but one class": (1 - marks(*range(50, 60)), True),
    "a mark that misses one node": (marks(*range(31, 50)), False),
    "constant": (np.ones(75), False),
    "a mark of unlabelled nodes": (marks(*range(60, 75)), False),
}


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_columns_that_say_the_label_are_found(form):
    features = np.stack([column for column, _ in COLUMNS.values()], axis=1).astype(np.float32)
    wanted = [index for index, (_, is_found) in enumerate(COLUMNS.values()) if is_found]
    assert columns_of_the_label(form(features), LABELS).tolist() == wanted


@pytest.mark.parametrize(("num_rare", "found"), [(LEAST_LABELS - 1, []), (LEAST_LABELS, [0])])
def test_a_mark_of_a_class_of_few_labels_may_be_chance(num_rare, found):
    labels = np.repeat([0, 1], [50, num_rare])
    assert columns_of_the_label(labels[:, np.newaxis].astype(np.float32), labels).tolist() == found
