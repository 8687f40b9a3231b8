"""A teacher of kind `auto`: candidates, their budget, and the two that answer together."""

import pytest
import torch

from rbm_training.config import TeacherConfig
from rbm_training.config.teacher import CANDIDATES
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import as_array, rows_of
from rbm_training.evaluation.feature_baseline import fit_baseline
from rbm_training.evaluation.metrics import accuracy
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.teachers import TeacherInputs, train_teacher
from tests.training.objects import CPU


@pytest.fixture
def train(synthetic_task, log, monkeypatch):
    """Train a small teacher of kind `auto`; what the log was told of candidates comes beside it."""
    task, scaling, told = synthetic_task, InputScaling(32, "l2", None), []
    monkeypatch.setattr(log, "event", lambda name, **fields: told.append((name, fields)))
    features = as_array(scaling.scale_features(rows_of(task.observed.features, CPU)))
    baseline = fit_baseline(features, task.observed.labels, task.train, task.val, task.graph.num_classes)
    inputs = TeacherInputs(task, scaling, baseline)

    def run(again=(), **fields):
        told.clear()
        config = TeacherConfig(**{"kind": "auto", "hidden": 16, "max_epochs": 20} | fields)
        checkpoint = Checkpoint(None, log)
        teacher = train_teacher(inputs, config, 0, log, checkpoint, again=again)
        return teacher, [fields for name, fields in told if name == "candidate"]

    run.baseline, run.features, run.task = baseline, features, task
    return run


def test_the_best_two_candidates_answer_together(train):
    teacher, candidates = train()
    assert [{name: told[name] for name in ("kind", "weight_decay")} for told in candidates] == list(
        CANDIDATES
    )
    regression = train.baseline.accuracy(
        train.features[train.task.val], train.task.observed.labels[train.task.val]
    )
    accuracies = sorted([regression, *(told["val_accuracy"] for told in candidates)], reverse=True)
    assert [member.val_accuracy for member in teacher.members] == accuracies[:2]


def test_candidates_are_not_begun_once_the_budget_is_used_up(train):
    epoch_cost = train.task.observed.adjacency.nnz + train.task.observed.num_nodes
    epoch_cost += train.task.observed.num_values // 64  # they are dense
    _, candidates = train(budget=6 * epoch_cost)  # two epochs for each of three
    assert len(candidates) == 3


def test_a_teacher_that_is_trained_again_is_its_members_trained_as_long(train):
    teacher, _ = train()
    again, candidates = train(again=teacher.members)
    assert candidates == []
    assert [member.described for member in again.members] == [member.described for member in teacher.members]
    assert [member.epoch for member in again.members] == [member.epoch for member in teacher.members]
    assert torch.equal(again.logits, teacher.logits)  # of the same labels


def test_logistic_regression_is_a_member_like_others(train, monkeypatch):
    monkeypatch.setattr("rbm_training.teachers.selection.CANDIDATES", CANDIDATES[:1])
    teacher, _ = train()
    assert {member.described["kind"] for member in teacher.members} == {"sign", "linear"}
    [linear] = [member for member in teacher.members if member.is_regression]
    labels, val = train.task.observed.labels, train.task.val
    expected = train.baseline.accuracy(train.features[val], labels[val])
    assert linear.val_accuracy == pytest.approx(expected)
    assert accuracy(teacher.logits[val], torch.from_numpy(labels[val])) > 0.5
