from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import PositionsConfig
from rbm_training.config.registry import ENCODINGS
from rbm_training.data.edges import undirected
from rbm_training.data.graph import GraphError
from rbm_training.encodings.encode import encode_positions
from rbm_training.encodings.label_propagation import propagated_labels
from rbm_training.encodings.unseen import infer_positions

WIDTH = 8
CONFIGS = [
    PositionsConfig(**fields, label_propagation=label_propagation)
    for label_propagation in (False, True)
    for fields in (
        {"kind": "deepwalk", "width": WIDTH, "walk_length": 10, "walks_per_node": 2},
        {"kind": "node2vec", "width": WIDTH, "walk_length": 10, "in_out_parameter": 0.5},
        {"kind": "laplacian", "width": WIDTH},
        {"kind": "propagated", "width": WIDTH},
        {"kind": "none"},
    )
]


def name(config):
    return config.kind + "+labels" * config.label_propagation


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_the_same_seed_gives_the_same_bits(config, synthetic_task, log):
    first, again = (encode_positions(synthetic_task, config, 3, log) for _ in range(2))
    width = WIDTH * (config.kind != "none") + 4 * config.label_propagation
    assert first.shape == (synthetic_task.observed.num_nodes, width)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_isolated_nodes_and_they_alone_get_zeros(config, synthetic_task, log):
    graph, node = synthetic_task.observed, synthetic_task.train[0]
    edges = graph.edge_index
    apart = undirected(edges[:, (edges != node).all(axis=0)], graph.num_nodes)
    isolated = np.diff(apart.indptr) == 0
    task = replace(synthetic_task, observed=replace(graph, adjacency=apart))
    positions = encode_positions(task, config, 0, log)
    assert not positions[isolated].any()
    assert positions[~isolated].any(axis=1).mean() > 0.9 or config == PositionsConfig(kind="none")


def test_places_and_labels_have_rows_of_norm_one_each(synthetic_task, log):
    plain, with_labels = (encode_positions(synthetic_task, CONFIGS[index], 0, log) for index in (0, 5))
    places, labels = with_labels[:, :WIDTH], with_labels[:, WIDTH:]
    shares = propagated_labels(synthetic_task, log)
    for block, raw in ((places, plain), (labels, shares)):
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        np.testing.assert_allclose(block * norms, raw, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(block, axis=1), norms[:, 0] > 0, atol=1e-6)


def test_an_unseen_node_stands_at_the_mean_of_its_known_neighbors(synthetic_task):
    graph, generator = synthetic_task.graph, np.random.default_rng(0)
    known, unseen = np.split(generator.permutation(graph.num_nodes), [graph.num_nodes // 3])
    positions = generator.standard_normal((len(known), 5)).astype(np.float32)
    found = infer_positions(graph, known, positions, unseen)
    numbers = []
    for node, position in zip(unseen, found, strict=True):
        rows = np.flatnonzero(np.isin(known, graph.neighbors_of(node)))
        expected = positions[rows].mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(5)
        np.testing.assert_array_equal(position, expected.astype(np.float32))
        numbers.append(len(rows))
    assert {0, 1, 2} <= set(numbers)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda N: None, "of type NoneType, shape None"),
        (lambda N: np.zeros((3, 2), np.float32), r"of type ndarray, shape \(3, 2\)"),
        (lambda N: np.full((N, 2), np.nan, np.float32), "that are not finite"),
    ],
)
def test_positions_that_are_none_are_refused(synthetic_task, log, monkeypatch, made, found):
    monkeypatch.setitem(ENCODINGS._entries, "mine", lambda graph, *_: made(graph.num_nodes))
    with pytest.raises(GraphError, match=f"positions of kind 'mine' {found}"):
        encode_positions(synthetic_task, PositionsConfig(kind="mine"), 0, log)
