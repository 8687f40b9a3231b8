from dataclasses import replace

import numpy as np
import pytest

from rbm_training.data.edges import undirected
from rbm_training.encodings import label_propagation
from rbm_training.encodings.label_propagation import propagated_labels


def by_dense_formula(task):
    """(I + αA)⁹ αA P0 as it is written, the influence of a training node on itself set to zero."""
    adjacency = task.observed.adjacency.toarray().astype(np.float64)
    degrees = adjacency.sum(axis=1, keepdims=True)
    averaging = np.divide(adjacency, degrees, out=np.zeros_like(adjacency), where=degrees > 0)
    matrix = np.linalg.matrix_power(np.eye(len(averaging)) + 0.1 * averaging, 9) @ (0.1 * averaging)
    matrix[task.train, task.train] = 0
    labels = np.zeros((len(averaging), task.observed.num_classes))
    labels[task.train, task.observed.labels[task.train]] = 1
    shares = matrix @ labels
    sums = shares.sum(axis=1, keepdims=True)
    return np.divide(shares, sums, out=np.zeros_like(shares), where=sums > 0)


def with_label(task, row, label):
    """The task with another label of one observed node."""
    labels = task.observed.labels.copy()
    labels[row] = label
    return replace(task, observed=replace(task.observed, labels=labels))


@pytest.mark.parametrize("chunk", [5, 1000])
def test_shares_are_those_of_the_dense_formula_without_its_diagonal(synthetic_task, log, chunk, monkeypatch):
    monkeypatch.setattr(label_propagation, "CHUNK", chunk)
    shares = propagated_labels(synthetic_task, log)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, by_dense_formula(synthetic_task), rtol=1e-6, atol=1e-12)


def test_rows_sum_to_one_or_are_zero(synthetic_task, log):
    sums = propagated_labels(synthetic_task, log).sum(axis=1)
    reached = sums > 0
    assert reached.sum() > 0.9 * len(sums)
    np.testing.assert_allclose(sums[reached], 1, rtol=1e-6)


def test_the_own_label_of_a_training_node_changes_its_neighbors_but_not_itself(synthetic_task, log):
    task = synthetic_task
    before = propagated_labels(task, log)
    for node in task.train[:4]:
        changed = with_label(task, node, (task.observed.labels[node] + 1) % 4)
        after = propagated_labels(changed, log)
        np.testing.assert_array_equal(after[node], before[node])
        neighbors = task.observed.neighbors_of(node)
        assert (after[neighbors] != before[neighbors]).any(axis=1).all()


def test_labels_that_are_not_for_training_are_not_read(synthetic_task, log):
    task = synthetic_task
    before = propagated_labels(task, log)
    for node in (task.val[0], task.test[0] if len(task.test) else task.val[1]):
        changed = with_label(task, node, (task.observed.labels[node] + 1) % 4)
        np.testing.assert_array_equal(propagated_labels(changed, log), before)


def test_a_training_node_that_no_other_label_reaches_gets_zeros(synthetic_task, log):
    task = synthetic_task
    alone = task.train[0]
    others = np.setdiff1d(np.arange(task.observed.num_nodes), task.train)[:2]
    triangle = np.array([[alone, others[0], others[1]], [others[0], others[1], alone]])
    adjacency = undirected(triangle, task.observed.num_nodes)
    shares = propagated_labels(replace(task, observed=replace(task.observed, adjacency=adjacency)), log)
    own = np.eye(4)[task.observed.labels[alone]]
    np.testing.assert_array_equal(shares[others], [own, own])
    shares[others] = 0
    assert not shares.any()
