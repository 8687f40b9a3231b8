from dataclasses import replace

import pytest
import torch

from rbm_training.config import RoutingConfig
from rbm_training.distill import train_student
from rbm_training.distiller import Distiller
from rbm_training.selection import EpochMetrics, Selection
from tests.training.objects import routed_student


def epoch_gradient(prepared, batch_rows):
    """The first epoch's gradient of a routed student, for a batch size."""
    P, C = prepared.positions.shape[1], prepared.task.graph.num_classes
    student = routed_student(prepared.task.graph.num_features, P, widths=(8, C), gains=False)
    config = prepared.config.distill.model_copy(update={"batch_rows": batch_rows, "pairs": "reliable"})
    routing = RoutingConfig(load_balance=0.0)  # the one term that is not linear in its rows
    torch.manual_seed(5)
    distiller = Distiller(student, prepared.inputs, prepared.teacher, prepared.edges, config, routing)
    distiller.routing_started = True
    distiller.accumulate_gradients()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


@pytest.mark.parametrize("batch_rows", [1, 7, 100, 10_000])
def test_the_epoch_gradient_does_not_depend_on_the_batch_size(prepared, batch_rows):
    whole = epoch_gradient(prepared, None)
    torch.testing.assert_close(epoch_gradient(prepared, batch_rows), whole, atol=1e-5, rtol=1e-4)


def distil(prepared, inputs=None, teacher=None, **distill):
    torch.manual_seed(0)
    changed = prepared.config.distill.model_copy(update=distill)
    return train_student(
        inputs or prepared.inputs,
        prepared.scaling,
        teacher or prepared.teacher,
        prepared.edges,
        prepared.config.model_copy(update={"distill": changed}),
        seed=0,
        log=prepared.log,
    )


def test_two_runs_of_one_seed_are_the_same_to_the_last_bit(prepared):
    first, second = distil(prepared), distil(prepared)
    assert first.history == second.history
    for name, value in first.student.state_dict().items():
        assert torch.equal(value, second.student.state_dict()[name]), name


def test_a_late_spike_of_test_accuracy_does_not_change_the_chosen_epoch(prepared, monkeypatch):
    plain = distil(prepared)
    last = plain.history[-1].epoch
    assert plain.selected.epoch < last
    observe = Selection.observe

    def spiked(self: Selection, metrics: EpochMetrics, model: torch.nn.Module) -> None:
        observe(self, replace(metrics, test_accuracy=1.0) if metrics.epoch == last else metrics, model)

    monkeypatch.setattr(Selection, "observe", spiked)
    planted = distil(prepared)
    assert planted.test_accuracy_max == 1.0 > plain.test_accuracy_max
    assert planted.selected == plain.selected
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, planted.student.state_dict()[name]), name


def test_test_labels_touch_nothing_but_the_reported_maximum(prepared):
    shuffled = replace(prepared.inputs, unseen_labels=prepared.inputs.unseen_labels.flip(0))
    plain, other = distil(prepared), distil(prepared, shuffled)
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, other.student.state_dict()[name]), name


def test_the_kept_epoch_is_a_routed_one(prepared):
    distilled = distil(prepared)
    assert distilled.selected.epoch >= prepared.config.distill.warmup_epochs
    assert all(layer.routed for layer in distilled.student.routed_layers())


def test_the_student_learns_from_its_teacher_alone(prepared):
    taught = distil(prepared, hard_label_weight=0.0)
    shifted = replace(prepared.teacher, logits=prepared.teacher.logits.roll(1, dims=1))
    mistaught = distil(prepared, teacher=shifted, hard_label_weight=0.0)
    assert taught.selected.val_accuracy > 0.6
    assert mistaught.selected.val_accuracy < 0.4


def test_the_memory_rests_while_one_expert_warms_up(prepared):
    P, C = prepared.positions.shape[1], prepared.task.graph.num_classes
    student = routed_student(prepared.task.graph.num_features, P, widths=(8, C), gains=False)
    for layer in student.routed_layers():
        layer.routed = False
    config, inputs = prepared.config, prepared.inputs
    distiller = Distiller(student, inputs, prepared.teacher, prepared.edges, config.distill, config.routing)
    for _ in range(config.routing.revive_after + 2):
        distiller.train_epoch()
    assert all((average.idle_steps == 0).all() for average in distiller.memory.layers)


def test_the_temperature_is_fitted_on_validation(prepared):
    assert float(distil(prepared).student.temperature) != 1.0
