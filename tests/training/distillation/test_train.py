import io
import json
from dataclasses import replace

import pytest
import scipy.sparse as sp
import torch
from rich.console import Console

from rbm_training.config import DistillConfig
from rbm_training.data.sparse_rows import rows_of
from rbm_training.distillation.predictions import predict_all
from rbm_training.distillation.refit_plan import RefitPlan
from rbm_training.distillation.train import best_of_kinds, train_student
from rbm_training.distillation.trainer import StudentTrainer
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import LOG_FILE, RunLog
from tests.training.objects import CPU, SMALL_CONFIG


def distil(data, log, **distill):
    changed = SMALL_CONFIG.distill.model_copy(update=distill)
    config = SMALL_CONFIG.model_copy(update={"distill": changed})
    return train_student(config, data, 0, log, Checkpoint(None, log))


def test_a_fit_without_validation_nodes_tells_of_training_accuracy(data, tmp_path):
    out = io.StringIO()
    plan = RefitPlan(1.0, (), num_epochs=(3,), temperature=1.0, hard_label_weight=0.2)
    with RunLog(tmp_path, Console(file=out)) as log:
        train_student(SMALL_CONFIG, data, 0, log, Checkpoint(None, log), plan)
    assert "train_accuracy 0." in out.getvalue()
    assert "val_accuracy" not in out.getvalue()
    events = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    told = [event for event in events if event["event"] == "epoch"]
    assert len(told) == 3
    assert all("train_accuracy" in event and "val_accuracy" not in event for event in told)


def test_two_runs_of_one_seed_are_the_same_to_the_last_bit(data, log):
    first, second = distil(data, log), distil(data, log)
    assert first.history == second.history
    for name, value in first.student.state_dict().items():
        assert torch.equal(value, second.student.state_dict()[name]), name


def test_a_late_spike_of_test_accuracy_does_not_change_the_chosen_epoch(data, log, monkeypatch):
    plain = distil(data, log, max_epochs=200, patience=5)
    last = plain.history[-1].metrics.epoch
    assert plain.selected_epoch < last
    observe = EarlyStopping.observe

    def spiked(self: EarlyStopping, metrics: EpochMetrics, model: torch.nn.Module) -> None:
        observe(self, replace(metrics, test_accuracy=1.0) if metrics.epoch == last else metrics, model)

    monkeypatch.setattr(EarlyStopping, "observe", spiked)
    planted = distil(data, log, max_epochs=200, patience=5)
    assert planted.test_accuracy_max == 1.0 > plain.test_accuracy_max
    assert planted.validation == plain.validation
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, planted.student.state_dict()[name]), name


def test_test_labels_touch_nothing_but_the_reported_maximum(data, log):
    unseen = data.inputs.unseen
    inputs = replace(data.inputs, unseen=replace(unseen, labels=unseen.labels.flip(0)))
    plain, other = distil(data, log), distil(replace(data, inputs=inputs), log)
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, other.student.state_dict()[name]), name


def test_the_kept_epoch_is_a_routed_one(data, log):
    distilled = distil(data, log)
    assert distilled.selected_epoch >= SMALL_CONFIG.distill.warmup_epochs
    assert all(layer.routed for layer in distilled.student.memory_layers())


def test_the_student_learns_from_its_teacher_alone(data, log):
    taught = distil(data, log, hard_label_weight=0.0)
    shifted = replace(data.teacher, logits=data.teacher.logits.roll(1, dims=1))
    mistaught = distil(replace(data, teacher=shifted), log, hard_label_weight=0.0)
    assert taught.validation.val_accuracy > 0.6
    assert mistaught.validation.val_accuracy < 0.4


def test_the_temperature_is_fitted_on_validation(data, log):
    assert float(distil(data, log).student.temperature) != 1.0


KINDS = ("rbm", "mlp", "moe", "mlp-ensemble")


def student_of(data, log, distill=None, routing=None, **student):
    """A student of other options, trained for a few epochs."""
    changes = {"student": student, "distill": {"max_epochs": 20, **(distill or {})}, "routing": routing or {}}
    parts = {name: getattr(SMALL_CONFIG, name).model_copy(update=new) for name, new in changes.items()}
    config = SMALL_CONFIG.model_copy(update=parts)
    return best_of_kinds(config, data, lambda each: train_student(each, data, 0, log, Checkpoint(None, log)))


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "mlp"},
        {"kind": "mlp", "match_budget": "flops", "num_layers": 3},
        {"kind": "moe"},
        {"kind": "moe", "router_top_k": "k_plus_1"},
        {"kind": "mlp-ensemble", "num_members": 3},
        {"num_experts": (1, 4)},
        {"metric": "euclidean"},
        {"routing_temperature": 0.125, "routing": {"memory_init": "spherical"}},
        {"routing_input": "positions", "routing": {"memory_init": "random"}},
        {"center_queries": True, "distill": {"adversarial": 0.2}},
        {"routing_input": "projection", "routing_projection": 5, "center_queries": True},
        {"shared_routing": True, "routing_input": "positions", "top_k": 1},
        {"distill": {"adversarial": 0.2, "pair_weight": "node", "pairs": "reliable"}},
        {"distill": {"batch_rows": 64, "step_after": "batch"}},
        {"kind": "moe", "distill": {"batch_rows": 64, "adversarial": 0.2}},
        {
            "expert_dropout": True,
            "distill": {"decoupled_weight_decay": True},
            "routing": {"clone_noise": 0.1},
        },
        {"kind": "moe", "expert_dropout": True, "routing": {"clone_noise": 0.1}},
        {"distill": {"batch_rows": 64, "step_after": "batch"}, "routing": {"memory_step": "optimizer_step"}},
    ],
    ids=str,
)
def test_students_of_every_kind_and_option_learn(data, log, options):
    distilled = student_of(data, log, **options)
    assert distilled.validation.val_accuracy > 0.6
    assert float(distilled.student.temperature) != 1.0
    assert all(layer.routed for layer in distilled.student.expert_layers())
    if distilled.student.kind != "mlp-ensemble":
        assert distilled.costs.num_parameters == distilled.student.num_parameters()
        assert distilled.test_accuracy_max >= distilled.validation.test_accuracy


def test_what_is_validated_is_what_the_student_then_says(data, log):
    for kind in KINDS:
        distilled = student_of(data, log, kind=kind)
        predictions = predict_all(distilled.student, data.inputs, distilled.batch_rows)
        evaluation = predictions.evaluation(data.inputs)
        weight = SMALL_CONFIG.distill.pseudo_unseen_weight
        assert distilled.validation.val_accuracy == evaluation.validation(data.inputs, weight).accuracy
        assert distilled.validation.test_accuracy == evaluation.test_accuracy(data.inputs)


def test_of_sparse_features_the_mean_row_is_counted(data, log):
    features = data.inputs.features.relu()
    sparse = rows_of(sp.csr_array(features.numpy()), CPU)
    distilled = student_of(replace(data, inputs=replace(data.inputs, features=sparse)), log, kind="mlp")
    H, C = SMALL_CONFIG.student.hidden, data.task.graph.num_classes
    num_read = round(float((features > 0).sum() / len(features))) + data.positions.shape[1]
    assert distilled.costs.sparse_flops_per_node == 2 * (num_read + C) * H < distilled.costs.flops_per_node
    assert student_of(data, log, kind="mlp").costs.sparse_flops_per_node is None


def test_of_sparse_features_a_budget_is_for_the_mean_row(data, log):
    sparse = rows_of(sp.csr_array(data.inputs.features.relu().numpy()), CPU)
    sparse_data = replace(data, inputs=replace(data.inputs, features=sparse))
    wide, narrow = (student_of(each, log, kind="mlp", max_flops=999).costs for each in (sparse_data, data))
    assert narrow.flops_per_node <= 999 < wide.flops_per_node
    assert 900 < wide.sparse_flops_per_node <= 999


def test_the_members_of_an_ensemble_start_from_seeds_of_their_own(data, log):
    distilled = student_of(data, log, kind="mlp-ensemble", num_members=3)
    one = student_of(data, log, kind="mlp")
    assert distilled.costs.num_parameters == 3 * one.costs.num_parameters
    assert (distilled.selected_epoch, distilled.test_accuracy_max) == (None, None)
    H = SMALL_CONFIG.student.hidden
    first, second, third = distilled.student.expert_layers()[0].weight[0].split(H, dim=1)
    assert torch.equal(first, one.student.expert_layers()[0].weight[0])
    assert not torch.equal(second, third)


def test_auto_keeps_the_kind_that_is_best_on_validation(data, log):
    alone = [student_of(data, log, kind=kind) for kind in ("rbm", "mlp", "linear")]
    best = max(alone, key=lambda distilled: distilled.validation.preference)
    found = student_of(data, log, kind="auto")
    assert (found.student.kind, found.validation) == (best.student.kind, best.validation)
    for name, value in best.student.state_dict().items():
        assert torch.equal(value, found.student.state_dict()[name]), name


def test_kinds_that_lose_are_told_as_well(data, tmp_path):
    with RunLog(tmp_path) as log:
        student_of(data, log, kind="auto")
    events = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    told = {event["kind"]: event["val_accuracy"] for event in events if event["event"] == "student"}
    assert told == {
        kind: student_of(data, RunLog(None), kind=kind).validation.val_accuracy
        for kind in ("rbm", "mlp", "linear")
    }


def test_a_finished_stage_tells_the_accuracy_of_the_epoch_that_is_kept(data, monkeypatch):
    measure, out = StudentTrainer.measure, io.StringIO()

    def worse_in_the_end(self, epoch):
        metrics = measure(self, epoch)
        return replace(metrics, val_accuracy=0.0) if epoch == 29 else metrics

    monkeypatch.setattr(StudentTrainer, "measure", worse_in_the_end)
    with RunLog(None, Console(file=out, width=120)) as log:
        trained = distil(data, log)
    assert trained.history[-1].metrics.val_accuracy == 0.0
    assert f"val_accuracy {trained.validation.val_accuracy:.3f} of the kept epoch" in out.getvalue()


def test_a_student_without_a_choice_of_experts_needs_no_warm_up(data, log):
    assert len(student_of(data, log, kind="mlp").history) == 20
    assert len(student_of(data, log, kind="moe").history) == 20 + SMALL_CONFIG.distill.warmup_epochs


def test_every_epoch_is_told(data, tmp_path):
    with RunLog(tmp_path) as log:
        history = distil(data, log).history
    events = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    told = [(event["epoch"], event["val_accuracy"]) for event in events if event["event"] == "epoch"]
    assert told == [(record.metrics.epoch, record.metrics.val_accuracy) for record in history]


def test_the_story_has_the_use_of_every_layer_once_routing_has_started(data, log):
    history = distil(data, log).history
    warmup = SMALL_CONFIG.distill.warmup_epochs
    assert all(record.use == [] for record in history[:warmup])
    assert [use.switching for use in history[warmup].use] == [None, None]
    for record in history[warmup + 1 :]:
        assert all(0 <= use.switching <= 1 and 0 <= use.entropy <= 1 for use in record.use)


@pytest.mark.parametrize(("share", "wanted"), [(0.05, 0.2), (0.6, 0.6)])
def test_labels_weigh_more_where_there_are_many(share, wanted):
    assert DistillConfig(hard_label_weight="auto").label_weight(share) == wanted
    assert DistillConfig().label_weight(share) == 0.2
