from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import PositionsConfig
from rbm_training.datasets.edges import undirected
from rbm_training.datasets.synthetic import generate_graph
from rbm_training.positions import encode_positions, random_walks
from rbm_training.run_log import RunLog

CONFIG = PositionsConfig(width=8, walk_length=10, walks_per_node=2)


@pytest.fixture
def log(tmp_path):
    return RunLog(tmp_path)


def test_every_step_of_a_walk_follows_an_edge():
    graph = generate_graph(seed=2)
    walks = random_walks(graph.adjacency, np.arange(graph.num_nodes), 12, np.random.default_rng(0))
    assert walks.shape == (graph.num_nodes, 12)
    assert (walks[:, 0] == np.arange(graph.num_nodes)).all()
    assert graph.adjacency[walks[:, :-1].ravel(), walks[:, 1:].ravel()].min() == 1


def test_a_step_picks_every_neighbor_equally_often():
    star = undirected(np.array([[0, 0, 0, 0], [1, 2, 3, 4]]), 5)
    walks = random_walks(star, np.zeros(8000, np.int64), 2, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.bincount(walks[:, 1], minlength=5) / 8000, [0, 0.25, 0.25, 0.25, 0.25], atol=0.02
    )


def test_a_seed_fixes_the_positions_to_the_last_bit(log):
    graph = generate_graph(seed=2)
    first, again, other = (encode_positions(graph, CONFIG, seed, log) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_neighbors_stand_nearer_than_strangers(log):
    graph = generate_graph(seed=2, homophily=0.98)
    config = PositionsConfig(width=16, walk_length=40, walks_per_node=5)
    positions = encode_positions(graph, config, 0, log)
    unit = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = graph.labels[:, None] == graph.labels
    assert cosines[same].mean() > cosines[~same].mean() + 0.1


def test_an_isolated_node_gets_zeros(log):
    graph = generate_graph(seed=2)
    edges = graph.edge_index
    apart = undirected(edges[:, (edges != 7).all(axis=0)], graph.num_nodes)
    positions = encode_positions(replace(graph, adjacency=apart), CONFIG, 0, log)
    assert (positions[7] == 0).all()
    assert (np.linalg.norm(np.delete(positions, 7, axis=0), axis=1) > 0).sum() >= graph.num_nodes - 5


def test_a_graph_without_edges_and_kind_none_need_no_walks(log):
    graph = generate_graph(seed=2)
    empty = undirected(np.zeros((2, 0), np.int64), graph.num_nodes)
    lonely = replace(graph, adjacency=empty)
    assert (encode_positions(lonely, CONFIG, 0, log) == 0).all()
    assert encode_positions(graph, PositionsConfig(kind="none"), 0, log).shape == (graph.num_nodes, 0)
