import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from rbm_training.config import TeacherConfig
from rbm_training.data.edges import undirected
from rbm_training.data.graph import Graph, Split, Task, make_task
from rbm_training.data.scaling import InputScaling
from rbm_training.evaluation.metrics import accuracy
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import RunLog
from rbm_training.teachers import TeacherInputs, TeacherResult, train_teacher

KINDS = ("sage", "gcn", "gat", "appnp")


@pytest.fixture
def train(tmp_path):
    """Train a small teacher."""

    def run(task: Task, seed: int = 0, console: Console | None = None, **fields) -> TeacherResult:
        config = TeacherConfig(**{"hidden": 16, "max_epochs": 30} | fields)
        scaling, log = InputScaling(32, "l2", None), RunLog(tmp_path, console)
        return train_teacher(TeacherInputs(task, scaling), config, seed, log, Checkpoint(None, log))

    return run


def with_graph(task: Task, graph: Graph) -> Task:
    """The same split of another graph on the same nodes."""
    nodes = task.observed_nodes
    rows = (nodes[part] for part in (task.train, task.val, task.test))
    return make_task(graph, Split(*rows, task.unseen, task.pseudo_unseen))


def without_edges_of_unseen(task: Task) -> Task:
    edges = task.graph.edge_index
    kept = edges[:, ~np.isin(edges, task.unseen).any(axis=0)]
    return with_graph(task, replace(task.graph, adjacency=undirected(kept, task.graph.num_nodes)))


def with_other_labels_of_unseen(task: Task) -> Task:
    labels = task.graph.labels.copy()
    labels[task.unseen] = (labels[task.unseen] + 1) % task.graph.num_classes
    return with_graph(task, replace(task.graph, labels=labels))


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_learns_and_leaves_answers_their_steadiness_and_representations(
    kind, train, synthetic_task
):
    task = synthetic_task
    result = train(task, kind=kind)
    num_observed = task.observed.num_nodes
    assert result.logits.shape == (num_observed, task.graph.num_classes)
    assert result.unseen_logits.shape == (len(task.unseen), task.graph.num_classes)
    assert result.representations.shape == (num_observed, 16)
    assert result.entropy_shift.shape == (num_observed,)
    assert (result.entropy_shift >= 0).all()
    assert result.entropy_shift.std() > 0
    labels = torch.from_numpy(task.observed.labels)
    assert accuracy(result.logits[task.val], labels[task.val]) > 0.7
    assert accuracy(result.unseen_logits, torch.from_numpy(task.graph.labels[task.unseen])) > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_unseen_nodes_are_answered_on_the_full_graph_that_training_never_touched(kind, train, synthetic_task):
    first, second = (
        train(task, kind=kind) for task in (synthetic_task, without_edges_of_unseen(synthetic_task))
    )
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.representations, second.representations)
    assert torch.equal(first.entropy_shift, second.entropy_shift)
    assert not torch.isclose(first.unseen_logits, second.unseen_logits).all(dim=1).any()


def test_labels_of_unseen_nodes_change_nothing(train, synthetic_task):
    first, second = (train(task) for task in (synthetic_task, with_other_labels_of_unseen(synthetic_task)))
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.unseen_logits, second.unseen_logits)


def test_an_ensemble_is_its_members_trained_one_by_one(train, synthetic_task):
    ensemble = train(synthetic_task, kind="gcn", members=2)
    members = [train(synthetic_task, seed, kind="gcn") for seed in (0, 1000)]
    assert not torch.equal(members[0].logits, members[1].logits)
    for answers in ("logits", "unseen_logits"):
        probabilities = [getattr(member, answers).softmax(dim=1) for member in members]
        mean = torch.stack(probabilities).mean(dim=0)
        torch.testing.assert_close(getattr(ensemble, answers).softmax(dim=1), mean)
    side_by_side = torch.cat([member.representations for member in members], dim=1)
    assert torch.equal(ensemble.representations, side_by_side)


def test_a_teacher_is_its_seeds_and_nothing_elses(train, synthetic_task):
    results = []
    for draws in (0, 5):
        torch.rand(draws)
        results.append(train(synthetic_task, seed=3))
    first, again = results
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.entropy_shift, again.entropy_shift)
    assert not torch.equal(train(synthetic_task, seed=4).logits, first.logits)


def test_a_teacher_of_one_layer_has_no_representations(train, synthetic_task):
    assert train(synthetic_task, num_layers=1).representations is None


def test_weights_of_classes_shift_what_is_learnt(train, synthetic_task):
    def answers(*weights):
        task = replace(synthetic_task, class_weights=np.array(weights, np.float32) if weights else None)
        return train(task, max_epochs=3).logits.softmax(dim=1).mean(dim=0)

    torch.testing.assert_close(answers(2, 2, 2, 2), answers())  # a mean is no larger for that
    assert answers(1, 1, 50, 1)[2] > answers()[2] + 0.02


def test_a_finished_stage_tells_the_accuracy_of_the_epoch_that_is_kept(train, synthetic_task):
    out = io.StringIO()
    [member] = train(synthetic_task, console=Console(file=out, width=120)).members
    assert f"val_accuracy {member.val_accuracy:.3f} of the kept epoch" in out.getvalue()
