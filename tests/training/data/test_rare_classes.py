from dataclasses import replace

import numpy as np
import pytest

from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.rare_classes import MergedClasses, merge_rare_classes


def graph_of(names, sizes):
    """A graph with so many labels of each class; the first node has none."""
    labels = np.concatenate([[UNLABELLED], np.repeat(np.arange(len(sizes)), sizes)])
    graph = generate_graph(0).subgraph(np.arange(len(labels)))
    return replace(graph, labels=labels, class_names=tuple(names))


def test_all_rare_classes_become_one():
    graph, merged = merge_rare_classes(graph_of("abcd", [2, 5, 3, 9]), 5)
    assert graph.class_names == ("b", "d", "other")
    assert graph.labels.tolist() == [UNLABELLED, 2, 2, *[0] * 5, *[2] * 3, *[1] * 9]
    assert merged == MergedClasses("other", {"a": 2, "c": 3})


@pytest.mark.parametrize("sizes", [[5, 6, 7], [2, 6, 7]])
def test_one_rare_class_keeps_its_name(sizes):
    graph = graph_of("abc", sizes)
    assert merge_rare_classes(graph, 5) == (graph, None)


def test_the_name_of_a_class_that_is_kept_is_not_taken():
    graph, _ = merge_rare_classes(graph_of(["a", "b", "other"], [1, 2, 9]), 5)
    assert graph.class_names == ("other", "other_")
    graph, merged = merge_rare_classes(graph_of(["a", "b", "other"], [9, 2, 1]), 5)
    assert (graph.class_names, merged.sizes) == (("a", "other"), {"b": 2, "other": 1})


def test_classes_that_are_all_rare_are_refused():
    with pytest.raises(GraphError, match="min_class_labels = 5, and at most 4 labels in a class"):
        merge_rare_classes(graph_of("ab", [4, 3]), 5)
