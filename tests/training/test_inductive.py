"""What is held out leaves no trace in anything that is learnt."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rbm_training.config import PositionsConfig
from rbm_training.data.edges import undirected
from rbm_training.data.splits import PublishedSplit
from rbm_training.distillation.train import train_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.encodings.encode import encode_positions
from rbm_training.runtime.checkpoint import Checkpoint
from tests.training.objects import SMALL_CONFIG, student_for, trainer_for


@pytest.fixture
def masked(dataset):
    """The small dataset with its drawn split as masks, which other labels do not change."""
    task = dataset.task(SMALL_CONFIG.dataset, seed=0)
    observed = task.observed_nodes
    parts = observed[task.train], [*observed[task.val], *task.pseudo_unseen], task.unseen
    masks = np.zeros((3, 1, task.graph.num_nodes), bool)
    for mask, part in zip(masks, parts, strict=True):
        mask[0, part] = True
    return replace(dataset, published=PublishedSplit(*masks))


def with_others_at(dataset, nodes):
    """The same dataset with other features, labels and edges at some nodes."""
    graph, generator = dataset.graph, np.random.default_rng(9)
    features, labels = graph.dense_features().copy(), graph.labels.copy()
    features[nodes] = generator.standard_normal(features[nodes].shape)
    labels[nodes] = (labels[nodes] + 1) % graph.num_classes
    gone = np.isin(graph.edge_index, nodes).any(axis=0)
    new = np.stack([np.repeat(nodes, 3), generator.integers(graph.num_nodes, size=3 * len(nodes))])
    adjacency = undirected(np.concatenate([graph.edge_index[:, ~gone], new], axis=1), graph.num_nodes)
    return replace(dataset, graph=replace(graph, features=features, labels=labels, adjacency=adjacency))


def two_versions(masked, group, log):
    """The small experiment prepared twice, the second time with others in a group of nodes."""
    nodes = getattr(masked.task(SMALL_CONFIG.dataset, seed=0), group)
    assert len(nodes)
    first, second = (
        prepare_training_data(SMALL_CONFIG, dataset, 0, log)
        for dataset in (masked, with_others_at(masked, nodes))
    )
    np.testing.assert_array_equal(getattr(second.task, group), nodes)
    changed = [getattr(version.inputs, group) for version in (first, second)]
    assert not torch.equal(changed[0].features, changed[1].features)
    return first, second


@pytest.mark.parametrize("group", ["unseen", "pseudo_unseen"])
def test_nothing_about_nodes_held_out_reaches_teacher_positions_or_gradients(masked, log, group):
    versions = two_versions(masked, group, log)
    states = []
    for version in versions:
        torch.manual_seed(0)
        trainer = trainer_for(version, student_for(version))
        for epoch in range(3):
            trainer.train_epoch()
            trainer.measure(epoch)
            if epoch == 0:
                trainer.start_routing(seed=0)
        states.append(trainer.student.state_dict())
    first, second = versions
    assert torch.equal(first.teacher.logits, second.teacher.logits)
    assert torch.equal(first.teacher.entropy_shift, second.teacher.entropy_shift)
    assert not torch.equal(first.teacher.unseen_logits, second.teacher.unseen_logits)
    np.testing.assert_array_equal(first.positions, second.positions)
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_nothing_about_unseen_nodes_reaches_the_selected_student(masked, log):
    first, second = (
        train_student(SMALL_CONFIG, version, 0, log, Checkpoint(None, log))
        for version in two_versions(masked, "unseen", log)
    )
    assert first.validation.preference == second.validation.preference
    for name, value in first.student.state_dict().items():
        assert torch.equal(value, second.student.state_dict()[name]), name


@pytest.mark.parametrize("kind", ["deepwalk", "node2vec", "laplacian", "propagated", "none"])
@pytest.mark.parametrize("label_propagation", [False, True])
def test_nothing_about_unseen_nodes_reaches_positions_of_any_kind(masked, log, kind, label_propagation):
    config = PositionsConfig(kind=kind, width=8, label_propagation=label_propagation)
    task = masked.task(SMALL_CONFIG.dataset, seed=0)
    changed = with_others_at(masked, task.unseen).task(SMALL_CONFIG.dataset, seed=0)
    first, second = (encode_positions(each, config, 0, log) for each in (task, changed))
    assert first.shape == (task.observed.num_nodes, 8 * (kind != "none") + 4 * label_propagation)
    np.testing.assert_array_equal(first, second)


def test_the_observed_graph_holds_no_edge_to_a_node_held_out(synthetic_task):
    task = synthetic_task
    held_out = np.concatenate([task.unseen, task.pseudo_unseen])
    assert task.setting == "inductive"
    assert len(task.pseudo_unseen)
    assert task.observed.num_nodes == task.graph.num_nodes - len(held_out)
    touches = np.isin(task.graph.edge_index, held_out).any(axis=0)
    assert task.observed.adjacency.nnz == (~touches).sum() < task.graph.adjacency.nnz
    assert not np.isin(held_out, task.observed_nodes).any()
