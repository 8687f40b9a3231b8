from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import PositionsConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.edges import undirected
from rbm_training.encodings import skip_gram
from rbm_training.encodings.skip_gram import Sentences, encode_by_walks

DEEPWALK = PositionsConfig(width=8, walk_length=10, walks_per_node=2)
NODE2VEC = DEEPWALK.model_copy(update={"kind": "node2vec", "in_out_parameter": 0.5})


def test_sentences_are_the_walks_in_words_however_often_they_are_read():
    sentences = Sentences([np.array([[2, 0], [1, 2]]), np.array([[0, 1]])], num_nodes=3, advance=int)
    assert list(sentences) == list(sentences) == [["2", "0"], ["1", "2"], ["0", "1"]]


def test_progress_counts_every_reading_but_the_first_up_to_the_last_walk(monkeypatch):
    monkeypatch.setattr(skip_gram, "WALKS_PER_STEP", 2)
    steps = []
    sentences = Sentences([np.zeros((5, 2), int)], num_nodes=1, advance=lambda: steps.append(1))
    counted = [list(sentences) and len(steps) for _ in range(3)]
    assert counted == [0, 3, 6]


@pytest.mark.parametrize("config", [DEEPWALK, NODE2VEC], ids=lambda config: config.kind)
def test_a_seed_fixes_the_positions_to_the_last_bit(config, log):
    graph = generate_graph(seed=2)
    first, again, other = (encode_by_walks(graph, config, seed, log) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_parameters_of_node2vec_move_the_positions(log):
    graph = generate_graph(seed=2)
    other = NODE2VEC.model_copy(update={"return_parameter": 4.0})
    first, second = (encode_by_walks(graph, config, 0, log) for config in (NODE2VEC, other))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["deepwalk", "node2vec"])
def test_neighbors_stand_nearer_than_others(kind, log):
    graph = generate_graph(seed=2, homophily=0.98)
    config = PositionsConfig(kind=kind, width=16, walk_length=40, walks_per_node=5)
    positions = encode_by_walks(graph, config, 0, log)
    unit = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = graph.labels[:, None] == graph.labels
    assert cosines[same].mean() > cosines[~same].mean() + 0.1


def test_a_graph_without_edges_needs_no_walks(log):
    graph = generate_graph(seed=2)
    lonely = replace(graph, adjacency=undirected(np.zeros((2, 0), np.int64), graph.num_nodes))
    for config in (DEEPWALK, NODE2VEC):
        assert (encode_by_walks(lonely, config, 0, log) == np.zeros((graph.num_nodes, 8))).all()
