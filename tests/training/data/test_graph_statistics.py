from dataclasses import asdict, replace

import numpy as np
import pytest
import scipy.sparse as sp

from rbm_training.data.dataset import Dataset
from rbm_training.data.dataset_artifact import as_artifact, from_artifact
from rbm_training.data.edges import symmetrised
from rbm_training.data.graph import Graph
from rbm_training.data.graph_statistics import EdgeCounts, GraphStatistics, Source

EDGES = np.array([[0, 0, 1, 1, 2, 3, 5], [1, 1, 0, 2, 2, 1, 6]])
LABELS = np.array([0, 0, 1, -1, 1, 0, -1])
FEATURES = np.array([[1, 0, 2], [1, 0, 3], [1, 0, 2], [1, 0, 2], [1, 0, 2], [1, 0, 2], [1, 0, 2]], np.float32)


@pytest.fixture
def dataset():
    adjacency, counts = symmetrised(EDGES, 7)
    graph = Graph("mine", adjacency, FEATURES, LABELS, np.arange(7), ("a", "b"))
    return Dataset(graph, source=Source(counts, ("edges.csv: column weight: unread",)))


def test_a_graph_is_accounted_for(dataset):
    assert dataset.statistics == GraphStatistics(
        num_nodes=7,
        num_source_nodes=7,
        num_edges=4,
        num_isolated_nodes=1,
        num_components=3,
        largest_component=4,
        largest_degree=3,
        num_labelled_edges=2,
        edge_homophily=0.5,
        chance_homophily=0.625,
        class_sizes={"a": 3, "b": 2},
        num_features=3,
        num_constant_features=2,
        source=Source(EdgeCounts(7, 1, 1, 1), ("edges.csv: column weight: unread",)),
    )


def test_sparse_features_are_counted_as_dense_ones_are(dataset):
    sparse = replace(dataset.graph, features=sp.csr_array(FEATURES))
    assert Dataset(sparse, source=dataset.source).statistics == dataset.statistics


def test_the_account_in_words_leaves_nothing_out(dataset):
    assert dataset.statistics.lines() == [
        ("nodes", "7, 1 without an edge; 3 connected components, the largest of 4 nodes; largest degree 3"),
        (
            "edges",
            "4, undirected, of 7 given; left out: 1 that are there the other way round, 1 repeated,"
            " 1 self-loops",
        ),
        ("edge homophily", "0.50, by chance 0.62, over 2 edges between labelled nodes"),
        ("labels", "5 in 2 classes: a: 3, b: 2"),
        ("features", "3; 2 of them the same for all nodes"),
        ("not read", "edges.csv: column weight: unread"),
    ]


def test_a_graph_that_was_cut_says_of_how_many_nodes(dataset):
    lines = dict(dataset.largest_component().statistics.lines())
    assert lines["nodes"].startswith("4 of 7, 0 without an edge; 1 connected components")


def test_many_classes_are_named_in_part():
    labels, names = np.arange(40) % 20, tuple(map(str, range(20)))
    graph = Graph("mine", sp.csr_array((40, 40)), np.ones((40, 1)), labels, np.arange(40), names)
    lines = dict(Dataset(graph).statistics.lines())
    assert lines["labels"].endswith("11: 2, and 8 more")
    assert lines["edge homophily"] == "unknown, over 0 edges between labelled nodes"
    assert lines["edges"] == "0, undirected"


def test_degrees_in_the_place_of_features_are_named(dataset):
    source = replace(dataset.source, has_features=False)
    lines = dict(replace(dataset, source=source).statistics.lines())
    assert lines["features"] == "none given; a one and log(1 + degree) in their place"


def test_the_account_outlives_its_source(dataset):
    assert asdict(from_artifact(as_artifact(dataset)).statistics) == asdict(dataset.statistics)


def test_features_of_columns_are_told_by_their_names_the_first_of_many(dataset):
    def told(*names):
        source = replace(dataset.source, feature_names=names)
        return dict(replace(dataset, source=source).statistics.lines())["features"]

    assert told("age", "height", "name") == "3: age, height, name; 2 of them the same for all nodes"
    assert told(*"abcdefg").startswith("3: a, b, c, d, e, and 2 more; ")
