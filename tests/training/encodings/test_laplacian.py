from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import PositionsConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.edges import undirected
from rbm_training.data.graph import GraphError
from rbm_training.encodings.laplacian import encode_by_eigenvectors, laplacian_eigenvectors
from rbm_training.runtime.log import RunLog

WIDTH = 6
CONFIG = PositionsConfig(kind="laplacian", width=WIDTH)
RING = undirected(np.stack([np.arange(30), (np.arange(30) + 1) % 30]), 30)


@pytest.fixture
def connected():
    """A connected graph of 60 nodes: a ring with chords."""
    nodes = np.arange(60)
    chords = np.random.default_rng(0).integers(60, size=(2, 80))
    return undirected(np.concatenate([[nodes, (nodes + 1) % 60], chords], axis=1), 60)


def laplacian_of(adjacency):
    dense = adjacency.toarray().astype(np.float64)
    root = np.sqrt(dense.sum(axis=1))
    return np.eye(len(dense)) - dense / np.outer(root, root)


def test_columns_are_eigenvectors_of_the_smallest_eigenvalues_but_zero(connected):
    laplacian = laplacian_of(connected)
    vectors = laplacian_eigenvectors(connected, WIDTH, seed=0)
    values = np.linalg.eigvalsh(laplacian)[1 : WIDTH + 1]
    assert values.min() > 0.01
    np.testing.assert_allclose(laplacian @ vectors, vectors * values, atol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(WIDTH), atol=1e-10)


def test_the_vector_that_knows_only_degrees_is_left_out(connected):
    vectors = laplacian_eigenvectors(connected, WIDTH, seed=0)
    np.testing.assert_allclose(np.sqrt(connected.sum(axis=1)) @ vectors, 0, atol=1e-6)


def test_the_entry_of_largest_size_is_positive(connected):
    for seed in range(4):
        vectors = laplacian_eigenvectors(connected, WIDTH, seed)
        assert (vectors.max(axis=0) == np.abs(vectors).max(axis=0)).all()


def test_a_seed_fixes_the_vectors_to_the_last_bit_where_eigenvalues_come_in_pairs():
    first, again, other = (laplacian_eigenvectors(RING, 5, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)  # any turn of a plane of equal eigenvalues is as good


def test_nodes_outside_the_largest_component_get_zeros(connected, tmp_path):
    edges = np.stack(connected.nonzero())
    triangle = np.array([[1, 2, 3], [2, 3, 1]])  # node 0 and those after 63 stand alone
    graph = generate_graph(seed=0, num_nodes=66)
    apart = undirected(np.concatenate([triangle, edges + 4], axis=1), 66)
    positions = encode_by_eigenvectors(replace(graph, adjacency=apart), CONFIG, 0, RunLog(tmp_path))
    np.testing.assert_array_equal(
        positions[4:64], laplacian_eigenvectors(connected, WIDTH, 0).astype(np.float32)
    )
    assert positions.shape == (66, WIDTH)
    assert not positions[:4].any()
    assert not positions[64:].any()


def test_a_component_too_small_for_the_width_is_refused(tmp_path):
    graph = replace(generate_graph(seed=0, num_nodes=30), adjacency=RING)
    log = RunLog(tmp_path)
    assert encode_by_eigenvectors(graph, CONFIG.model_copy(update={"width": 28}), 0, log).shape == (30, 28)
    with pytest.raises(GraphError, match=r"30 nodes .*positions\.width = 29; wanted a width of at most 28"):
        encode_by_eigenvectors(graph, CONFIG.model_copy(update={"width": 29}), 0, log)
