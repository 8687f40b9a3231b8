"""What is measured on some labels, and shipped with all of them."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from rbm_bundle.bundle import read_bundle
from rbm_training.config import ExperimentConfig
from rbm_training.config.base import merged
from rbm_training.data.graph import UNLABELLED
from rbm_training.data.loading import load_dataset
from rbm_training.distillation import training_data
from rbm_training.distillation.student_artifact import trained_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.encodings.encode import encode_positions
from rbm_training.reporting import refit as module
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.refit import refit
from rbm_training.runtime.artifacts import ArtifactStore
from tests.training.objects import SMALL_CONFIG, train


def config_with(**changes):
    return ExperimentConfig.model_validate(merged(SMALL_CONFIG.model_dump(), changes))


def measured_and_again(config, log, folder):
    dataset, store = load_dataset(config.dataset), ArtifactStore(folder)
    data = prepare_training_data(config, dataset, 0, log, store)
    distilled = trained_student(config, dataset, data, 0, log, store)
    measured = TrainedStudent(distilled.student.kind, 0, data, distilled)
    return measured, refit(config, dataset, measured, log, store)


OF_A_BUDGET = {"kind": "rbm", "shared_routing": True, "routing_input": "positions", "max_flops": 2_000}


@pytest.mark.parametrize(
    "student",
    [*({"kind": kind} for kind in ("rbm", "mlp", "mlp-ensemble", "linear")), OF_A_BUDGET],
    ids=str,
)
def test_all_labels_and_all_nodes_are_learnt_from_as_long_as_before(student, log, tmp_path):
    measured, again = measured_and_again(config_with(student=student), log, tmp_path)
    graph, task = measured.data.task.graph, again.trained.data.task
    assert task.observed is graph
    assert task.train.tolist() == np.flatnonzero(graph.labels != UNLABELLED).tolist()
    assert len(task.known_nodes) == graph.num_nodes
    before, after = measured.distilled, again.trained.distilled
    assert after.num_epochs == before.num_epochs
    assert (after.shape, after.student.layer_widths) == (before.shape, before.student.layer_widths)
    assert float(after.student.temperature) == float(before.student.temperature)
    teachers = [each.data.teacher.members for each in (measured, again.trained)]
    assert [member.epoch for member in teachers[1]] == [member.epoch for member in teachers[0]]
    weights = [each.student.expert_layers()[0].weight for each in (before, after)]
    assert not torch.equal(*weights)
    assert 0 < again.disagreement < 0.5


def test_a_teacher_of_the_best_two_is_fitted_again(log, tmp_path):
    config = config_with(teacher={"kind": "auto"}, student={"kind": "mlp"}, distill={"max_epochs": 10})
    measured, again = measured_and_again(config, log, tmp_path)
    before, after = (
        [(member.described, member.epoch) for member in each.data.teacher.members]
        for each in (measured, again.trained)
    )
    assert after == before


def test_another_student_leaves_the_teacher_of_all_labels_as_it_is(log, tmp_path):
    for max_epochs in (1, 2):
        config = config_with(student={"kind": "mlp"}, distill={"max_epochs": max_epochs})
        measured_and_again(config, log, tmp_path / "artifacts")
    stages = Counter(path.name.split("-")[0] for path in (tmp_path / "artifacts").iterdir())
    assert stages == {"baseline": 2, "encodings": 2, "teacher": 2, "student": 4}


def test_labels_weigh_as_much_as_in_the_measured_fit(log, tmp_path):
    shares = {"train_per_class": None, "val_per_class": None, "train_fraction": 0.6, "val_fraction": 0.2}
    config = config_with(dataset=shares, student={"kind": "mlp"}, distill={"hard_label_weight": "auto"})
    measured, again = measured_and_again(config, log, tmp_path)
    assert measured.distilled.hard_label_weight == measured.data.inputs.training_share > 0.5
    assert again.trained.distilled.hard_label_weight == measured.distilled.hard_label_weight


@pytest.mark.parametrize(
    ("setting", "label_propagation", "times"),
    [("transductive", False, 1), ("transductive", True, 2), ("inductive", False, 2)],
)
def test_positions_are_made_again_where_more_nodes_or_labels_are_known(
    setting, label_propagation, times, log, tmp_path, monkeypatch
):
    made = []

    def counted(*arguments):
        made.append(arguments)
        return encode_positions(*arguments)

    monkeypatch.setattr(training_data, "encode_positions", counted)
    config = config_with(
        dataset={"setting": setting},
        positions={"label_propagation": label_propagation},
        student={"kind": "linear"},
    )
    measured_and_again(config, log, tmp_path)
    assert len(made) == times


@pytest.mark.slow
@pytest.mark.parametrize(("most", "is_shipped"), [(1.0, True), (0.0, False)])
def test_what_is_too_far_from_what_was_measured_is_not_shipped(
    most, is_shipped, small_experiment, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(module, "MOST_DISAGREEMENT", most)
    assert train(small_experiment, tmp_path / "run", "export.refit=true") == 0
    bundle = read_bundle(tmp_path / "run" / "bundle")
    num_nodes = load_dataset(SMALL_CONFIG.dataset).graph.num_nodes
    assert (bundle.nodes.num_nodes == num_nodes) == is_shipped
    assert bundle.node_map.rows.tolist() == list(range(bundle.nodes.num_nodes))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["refit_disagreement"] > 0
    assert report["is_refit"] == bundle.manifest.provenance.refit == is_shipped
    told = " ".join(capsys.readouterr().out.split())
    assert ("that fit is shipped" if is_shipped else "the measured one is shipped") in told
    assert (
        "This one was then fitted on all labels" in (bundle.path / "MODEL_CARD.md").read_text()
    ) == is_shipped


@pytest.mark.slow
def test_report_and_card_name_the_teachers_that_were_chosen(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run", "teacher.kind=auto", "teacher.max_epochs=5") == 0
    chosen = read_bundle(tmp_path / "run" / "bundle").manifest.provenance.config["teacher"]["chosen"]
    assert len(chosen) == 2
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["teacher"] == " and ".join(member["kind"] for member in chosen)
    assert "distilled from the mean of " in (tmp_path / "run" / "bundle" / "MODEL_CARD.md").read_text()
