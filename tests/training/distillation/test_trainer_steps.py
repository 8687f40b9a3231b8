"""Steps of the optimiser and of the memories."""

import pytest
import torch

from rbm_training.config import RoutingConfig
from tests.training.objects import NO_BALANCE, memories_of, settled, student_for, trainer_for


def test_the_optimiser_forgets_the_warm_up_when_routing_starts(data):
    student = student_for(data)
    for layer in student.memory_layers():
        layer.routed = False
    trainer = trainer_for(data, student)
    trainer.train_epoch()
    trainer.start_routing(seed=0)
    assert not trainer._optimizer.state
    trainer.train_epoch()
    assert num_optimiser_steps(trainer) == 1


def num_optimiser_steps(trainer):
    (steps,) = {int(state["step"]) for state in trainer._optimizer.state.values()}
    return steps


@pytest.mark.parametrize(("step_after", "wanted"), [("epoch", 1), ("batch", 4)])
def test_the_optimiser_steps_once_an_epoch_or_after_every_batch(data, step_after, wanted):
    assert 300 < len(data.inputs.labels) <= 400
    assert num_optimiser_steps(settled(data, batch_rows=100, step_after=step_after)) == wanted


def test_the_memory_moves_once_an_epoch_whenever_the_optimiser_steps(data):
    once, often = settled(data), settled(data, batch_rows=100, step_after="batch")
    # The first layer's inputs are data, so what its memory saw is the same.
    torch.testing.assert_close(memories_of(often)[0], memories_of(once)[0])
    assert not torch.equal(often.student.layers[0].weight, once.student.layers[0].weight)


@pytest.mark.parametrize(
    ("step_after", "memory_step", "wanted"),
    [
        ("epoch", "epoch", 1),
        ("batch", "epoch", 1),
        ("epoch", "optimizer_step", 1),
        ("batch", "optimizer_step", 4),
    ],
)
def test_the_memory_moves_once_an_epoch_or_with_the_optimiser(data, step_after, memory_step, wanted):
    routing = RoutingConfig(memory_step=memory_step)
    trainer = settled(data, routing, batch_rows=100, step_after=step_after)
    moved = []
    step = trainer.memory.step
    trainer.memory.step = lambda: moved.append(memories_of(trainer)[0].clone()) or step()
    trainer.train_epoch()
    assert len(moved) == wanted
    assert not any(torch.equal(memory, memories_of(trainer)[0]) for memory in moved)


def test_memories_rest_during_the_warm_up_by_batch_too(data):
    routing = RoutingConfig(memory_step="optimizer_step", reinit_dead_after=2)
    trainer = trainer_for(data, student_for(data), routing, batch_rows=100, step_after="batch")
    before = memories_of(trainer)[0].clone()
    trainer.train_epoch()
    assert torch.equal(memories_of(trainer)[0], before)


def test_a_step_after_a_batch_follows_the_gradient_of_an_epoch_of_such_batches(data):
    student, untouched = student_for(data), student_for(data)
    trainer = trainer_for(
        data,
        student,
        NO_BALANCE,
        pairs="self",
        hard_label_weight=0.0,
        temperature=1.0,
        batch_rows=50,
    )
    rows = torch.arange(50)
    trainer._step_after(rows, trainer._targets())
    logits = untouched.classify(trainer.inputs.scaled[rows]).logits
    soft = data.teacher.logits[rows].softmax(dim=1)
    torch.nn.functional.kl_div(logits.log_softmax(dim=1), soft, reduction="batchmean").backward()
    for layer, wanted in zip(student.expert_layers(), untouched.expert_layers(), strict=True):
        torch.testing.assert_close(layer.weight.grad, wanted.weight.grad, atol=1e-6, rtol=1e-4)
        assert not torch.equal(layer.weight, wanted.weight)


@pytest.mark.parametrize(("decoupled", "least", "most"), [(False, 0.0, 0.3), (True, 0.999, 1.0)])
def test_decoupled_decay_leaves_an_expert_without_rows_its_weights(data, decoupled, least, most):
    student = student_for(data)
    trainer = trainer_for(data, student, decoupled_weight_decay=decoupled)
    weight = student.layers[0].weight
    weight.data.mul_(0.1)
    before = weight.detach().clone()
    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(30):
        trainer._optimizer.step()
    assert least <= float(weight.detach().norm() / before.norm()) <= most
