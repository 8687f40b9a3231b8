from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rbm_training.config import PositionsConfig
from rbm_training.data.edges import undirected
from rbm_training.data.graph import GraphError
from rbm_training.encodings.propagated_features import (
    encode_by_propagation,
    leading_directions,
    mean_with_neighbors,
)
from rbm_training.encodings.unseen import infer_positions

WIDTH = 6
CONFIG = PositionsConfig(kind="propagated", width=WIDTH)


@pytest.fixture
def graph(synthetic_task):
    return synthetic_task.observed


def test_directions_lose_as_little_of_the_rows_as_any_could(graph):
    rows = graph.dense_features().astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = leading_directions(graph, WIDTH, seed=0)
    best = np.linalg.svd(rows, compute_uv=False)[:WIDTH]
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), best, rtol=1e-2)


def test_dense_and_sparse_features_have_the_same_directions(graph):
    sparse = replace(graph, features=sp.csr_array(graph.features))
    np.testing.assert_allclose(
        leading_directions(sparse, WIDTH, 0), leading_directions(graph, WIDTH, 0), atol=1e-9
    )


def test_a_hop_is_the_mean_over_a_node_and_its_neighbors():
    path = undirected(np.array([[0, 1], [1, 2]]), 4)
    expected = [[1 / 2, 1 / 2, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0, 1 / 2, 1 / 2, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(mean_with_neighbors(path).toarray(), expected)


@pytest.mark.parametrize("hops", [1, 3])
def test_positions_are_directions_after_as_many_hops(graph, log, hops):
    positions = encode_by_propagation(graph, CONFIG.model_copy(update={"hops": hops}), 0, log)
    averaging = np.linalg.matrix_power(mean_with_neighbors(graph.adjacency).toarray(), hops)
    expected = averaging @ leading_directions(graph, WIDTH, 0)
    expected[np.diff(graph.adjacency.indptr) == 0] = 0
    np.testing.assert_allclose(positions, expected, atol=1e-6)


def test_an_unseen_node_is_placed_near_where_it_would_be_had_it_been_known(synthetic_task, log):
    task = synthetic_task
    whole = encode_by_propagation(task.graph, CONFIG, 0, log)
    inferred = infer_positions(task.graph, task.observed_nodes, whole[task.observed_nodes], task.unseen)
    met = np.flatnonzero(inferred.any(axis=1))
    gaps = np.linalg.norm(inferred[met] - whole[task.unseen[met]], axis=1)
    others = np.linalg.norm(inferred[met] - whole[np.roll(task.unseen[met], 1)], axis=1)
    assert (gaps < others).mean() > 0.9


def test_more_directions_than_features_are_refused_with_the_most_there_are(graph, log):
    with pytest.raises(
        GraphError, match=r"32 features .* positions\.width = 33; wanted a width of at most 32"
    ):
        encode_by_propagation(graph, CONFIG.model_copy(update={"width": 33}), 0, log)
