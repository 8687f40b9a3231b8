import numpy as np
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.class_weights import weighted
from rbm_training.data.graph import GraphError, whole_task

TASK = whole_task(generate_graph(seed=1))


def test_balanced_classes_count_alike():
    labels = TASK.observed.labels[TASK.train]
    weights = weighted(TASK, "balanced").class_weights
    counts = np.bincount(labels)
    np.testing.assert_allclose(weights, len(labels) / (4 * counts), rtol=1e-6)
    assert weights[labels].sum() == pytest.approx(len(labels))


def test_a_class_without_a_training_label_is_none_of_those_that_are_balanced():
    labels = TASK.graph.labels
    task = weighted(whole_task(TASK.graph.subgraph(np.flatnonzero(labels != 2))), "balanced")
    assert task.class_weights[2] == 1
    np.testing.assert_allclose(
        task.class_weights[[0, 1, 3]] * np.bincount(labels)[[0, 1, 3]], (labels != 2).sum() / 3, rtol=1e-6
    )


def test_weights_by_name_are_one_where_nothing_is_said():
    assert weighted(TASK, {"class 2": 5.0}).class_weights.tolist() == [1, 1, 5, 1]
    assert weighted(TASK, "none") is TASK


def test_a_weight_for_no_class_is_told_with_the_nearest_one():
    with pytest.raises(
        GraphError, match=r"""for class 'clas 2', which is none; .*did you mean "class 2"\?"""
    ):
        weighted(TASK, {"clas 2": 5.0})


@pytest.mark.parametrize("asked", ["balnced", {"class 1": 0}, 3])
def test_other_weights_are_no_experiment(asked):
    with pytest.raises(ValueError, match="class_weights"):
        DatasetConfig(class_weights=asked)
