from dataclasses import replace

import torch

from rbm_training.preparation import distillation
from rbm_training.selection import EpochMetrics, Selection
from tests.training.objects import SMALL_CONFIG


def distil(prepared, log, **distill):
    changed = SMALL_CONFIG.distill.model_copy(update=distill)
    config = SMALL_CONFIG.model_copy(update={"distill": changed})
    return distillation(config, prepared, log).train(seed=0)


def test_two_runs_of_one_seed_are_the_same_to_the_last_bit(prepared, log):
    first, second = distil(prepared, log), distil(prepared, log)
    assert first.history == second.history
    for name, value in first.student.state_dict().items():
        assert torch.equal(value, second.student.state_dict()[name]), name


def test_a_late_spike_of_test_accuracy_does_not_change_the_chosen_epoch(prepared, log, monkeypatch):
    plain = distil(prepared, log, max_epochs=200, patience=5)
    last = plain.history[-1].metrics.epoch
    assert plain.selected_epoch < last
    observe = Selection.observe

    def spiked(self: Selection, metrics: EpochMetrics, model: torch.nn.Module) -> None:
        observe(self, replace(metrics, test_accuracy=1.0) if metrics.epoch == last else metrics, model)

    monkeypatch.setattr(Selection, "observe", spiked)
    planted = distil(prepared, log, max_epochs=200, patience=5)
    assert planted.test_accuracy_max == 1.0 > plain.test_accuracy_max
    assert planted.validation == plain.validation
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, planted.student.state_dict()[name]), name


def test_test_labels_touch_nothing_but_the_reported_maximum(prepared, log):
    unseen = prepared.inputs.unseen
    inputs = replace(prepared.inputs, unseen=replace(unseen, labels=unseen.labels.flip(0)))
    plain, other = distil(prepared, log), distil(replace(prepared, inputs=inputs), log)
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, other.student.state_dict()[name]), name


def test_the_kept_epoch_is_a_routed_one(prepared, log):
    distilled = distil(prepared, log)
    assert distilled.selected_epoch >= SMALL_CONFIG.distill.warmup_epochs
    assert all(layer.routed for layer in distilled.student.memory_layers())


def test_the_student_learns_from_its_teacher_alone(prepared, log):
    taught = distil(prepared, log, hard_label_weight=0.0)
    shifted = replace(prepared.teacher, logits=prepared.teacher.logits.roll(1, dims=1))
    mistaught = distil(replace(prepared, teacher=shifted), log, hard_label_weight=0.0)
    assert taught.validation.val_accuracy > 0.6
    assert mistaught.validation.val_accuracy < 0.4


def test_the_temperature_is_fitted_on_validation(prepared, log):
    assert float(distil(prepared, log).student.temperature) != 1.0
