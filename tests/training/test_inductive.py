"""What is unseen leaves no trace in anything that is learnt."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rbm_training.config import PositionsConfig
from rbm_training.datasets.edges import undirected
from rbm_training.distill import train_student
from rbm_training.graph import Split, make_task
from rbm_training.positions import encode_positions, positions_of
from rbm_training.run_log import RunLog
from tests.training.objects import prepare


def with_other_unseen(task):
    """The same task with other features, labels and edges at every unseen node."""
    graph, generator = task.graph, np.random.default_rng(9)
    features, labels = graph.dense_features().copy(), graph.labels.copy()
    features[task.unseen] = generator.standard_normal(features[task.unseen].shape)
    labels[task.unseen] = (labels[task.unseen] + 1) % graph.num_classes
    kept = np.isin(graph.edge_index, task.unseen).any(axis=0)
    new = np.stack(
        [np.repeat(task.unseen, 3), generator.integers(graph.num_nodes, size=3 * len(task.unseen))]
    )
    adjacency = undirected(np.concatenate([graph.edge_index[:, ~kept], new], axis=1), graph.num_nodes)
    other = replace(graph, features=features, labels=labels, adjacency=adjacency)
    nodes = task.observed_nodes
    return make_task(other, Split(nodes[task.train], nodes[task.val], nodes[task.test], task.unseen))


def test_nothing_about_unseen_nodes_reaches_teacher_positions_memory_or_student(
    synthetic_task, small_config, tmp_path
):
    results = []
    for task in (synthetic_task, with_other_unseen(synthetic_task)):
        prepared = prepare(small_config, task, tmp_path)
        torch.manual_seed(0)
        distilled = train_student(
            prepared.inputs,
            prepared.scaling,
            prepared.teacher,
            prepared.edges,
            small_config,
            seed=0,
            log=prepared.log,
        )
        results.append((prepared, distilled))
    (first, student), (second, other_student) = results
    assert torch.equal(first.teacher.logits, second.teacher.logits)
    assert not torch.equal(first.teacher.unseen_logits, second.teacher.unseen_logits)
    np.testing.assert_array_equal(first.positions, second.positions)
    for name, value in student.student.state_dict().items():
        assert torch.equal(value, other_student.student.state_dict()[name]), name


@pytest.mark.parametrize("kind", ["deepwalk", "node2vec", "laplacian", "none"])
@pytest.mark.parametrize("label_propagation", [False, True])
def test_nothing_about_unseen_nodes_reaches_positions_of_any_kind(
    synthetic_task, tmp_path, kind, label_propagation
):
    config = PositionsConfig(kind=kind, label_propagation=label_propagation)
    first, second = (
        encode_positions(task, config, 0, RunLog(tmp_path))
        for task in (synthetic_task, with_other_unseen(synthetic_task))
    )
    assert first.shape == (
        synthetic_task.observed.num_nodes,
        64 * (kind != "none") + 4 * label_propagation,
    )
    np.testing.assert_array_equal(first, second)


def test_an_unseen_node_takes_exactly_the_position_of_its_one_observed_neighbor(synthetic_task):
    task = synthetic_task
    unseen, observed = task.unseen[:4], int(task.observed_nodes[5])
    edges = np.stack([np.full(4, unseen[0]), np.array([observed, *unseen[1:]])])
    graph = replace(task.graph, adjacency=undirected(edges, task.graph.num_nodes))
    nodes = task.observed_nodes
    alone = make_task(graph, Split(nodes[task.train], nodes[task.val], nodes[task.test], task.unseen))
    positions = np.random.default_rng(0).standard_normal((len(nodes), 6)).astype(np.float32)
    inferred = positions_of(alone, positions, alone.unseen)
    np.testing.assert_array_equal(inferred[0], positions[5])
    np.testing.assert_array_equal(inferred[1:], np.zeros((len(task.unseen) - 1, 6)))


def test_the_observed_graph_holds_no_edge_to_an_unseen_node(synthetic_task):
    task = synthetic_task
    assert task.setting == "inductive"
    assert task.observed.num_nodes == task.graph.num_nodes - len(task.unseen)
    touches_unseen = np.isin(task.graph.edge_index, task.unseen).any(axis=0)
    assert task.observed.adjacency.nnz == (~touches_unseen).sum() < task.graph.adjacency.nnz
    assert (task.rows_in_observed(task.unseen) == -1).all()
