import math
from unittest.mock import Mock

import pytest
import torch

from rbm_bundle.bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.config import RoutingConfig
from rbm_training.data.sparse_rows import unit_rows
from rbm_training.distillation.predictions import predict
from rbm_training.distillation.released import ReleasedMemory, ReleasedTrainer, batch_softmax
from rbm_training.distillation.train import train_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.students.student import StudentOutput
from tests.training.objects import routed_student, student_for, trainer_for

ZERO = {"commitment": 0.0, "load_balance": 0.0, "self_similarity": 0.0}
NO_AUXILIARY = RoutingConfig(**ZERO)


def released_trainer(data, student, batch_rows=None, routing=NO_AUXILIARY, pairs="self"):
    """The training of a student that is routed already."""
    trainer = trainer_for(
        data,
        student,
        routing,
        ReleasedTrainer,
        batch_rows=batch_rows,
        pairs=pairs,
        temperature=0.7,
    )
    trainer.memory.take_over()
    trainer.routing_started = True
    return trainer


def warming_up(data, student) -> ReleasedTrainer:
    """The training of a student whose routing has not started."""
    for layer in student.memory_layers():
        layer.routed = False
    return trainer_for(data, student, NO_AUXILIARY, ReleasedTrainer)


def gradient_of(student):
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


@pytest.mark.parametrize("batch_rows", [None, 10])
def test_an_epoch_sums_the_means_of_label_batches_and_of_pair_batches(data, batch_rows):
    student = student_for(data)
    trainer = released_trainer(data, student, batch_rows, RoutingConfig(ema_decay=1.0, **ZERO))
    trainer.accumulate_gradients()
    found = gradient_of(student)
    inputs, config = data.inputs, trainer.config
    student.zero_grad()
    targets = data.teacher.logits.log_softmax(dim=1) / config.temperature
    everyone = torch.arange(len(inputs.labels))
    size = batch_rows or len(everyone)
    logits = student.classify(inputs.scaled).logits.log_softmax(dim=1)
    for rows in inputs.train.split(size):
        nll = -logits[rows, inputs.labels[rows]].mean()
        (config.hard_label_weight * nll).backward(retain_graph=True)
    for rows in everyone.split(size):
        gaps = targets[rows].exp() * (targets[rows] - logits[rows] / config.temperature)
        ((1 - config.hard_label_weight) * gaps.sum(dim=1).mean()).backward(retain_graph=True)
    torch.testing.assert_close(found, gradient_of(student), atol=1e-5, rtol=1e-4)


def test_reliable_pairs_are_batches_of_edges_before_the_nodes_themselves(data):
    trainer = released_trainer(data, student_for(data), pairs="reliable")
    pairs = trainer._pairs()
    num_nodes = len(data.inputs.labels)
    assert pairs.shape[1] > num_nodes
    assert (pairs[0, -num_nodes:] == pairs[1, -num_nodes:]).all()
    assert (pairs[0, :-num_nodes] != pairs[1, :-num_nodes]).all()


def test_pairs_of_any_order_meet_their_own_rows(data, monkeypatch):
    everyone = torch.arange(len(data.inputs.labels)).expand(2, -1)
    gradients = []
    for pairs in (everyone, everyone.flip(1)):
        monkeypatch.setattr(ReleasedTrainer, "_pairs", Mock(return_value=pairs))
        student = student_for(data)
        trainer = released_trainer(data, student, None, RoutingConfig(ema_decay=1.0, **ZERO))
        trainer.accumulate_gradients()
        gradients.append(gradient_of(student))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-4)


def test_memories_move_in_every_forward_pass(data):
    memories = []
    for batch_rows in (None, 40):
        student = student_for(data)
        before = student.memory_layers()[0].memory.clone()
        trainer = released_trainer(data, student, batch_rows)
        trainer.train_epoch()
        memories.append((before * student.memory_layers()[0].memory).sum(dim=1))
    few_passes, many_passes = memories
    assert (many_passes < few_passes).all()  # further away from where they were


def routed_batch(data) -> StudentOutput:
    student = student_for(data)
    with torch.no_grad():
        return student.classify(data.inputs.scaled[:20])


def test_the_average_weighs_by_a_softmax_over_the_batch_and_is_not_normalised(data):
    student, output = student_for(data), routed_batch(data)
    memory = ReleasedMemory(student, NO_AUXILIARY)
    memory.take_over()
    memory.accumulate(output)
    for layer, routing, found in zip(
        student_for(data).memory_layers(), output.layers, memory.vectors, strict=True
    ):
        for expert, unit in enumerate(layer.memory):
            given = [
                (float(routing.weights[row, place].exp()), routing.query[row])
                for row in range(20)
                for place in range(2)
                if routing.experts[row, place] == expert
            ]
            total = sum(share for share, _ in given)
            mean = sum((share / total * x for share, x in given), torch.zeros_like(unit))
            torch.testing.assert_close(found[expert].detach(), 0.9 * unit + 0.1 * mean)


def test_an_expert_without_rows_shrinks_and_is_never_revived():
    student = routed_student(features="none", position_norm=None)
    layer = student.memory_layers()[0]
    layer.memory.copy_(unit_rows(torch.cat([-torch.ones(1, 10), 1 + torch.rand(3, 10)])))
    memory = ReleasedMemory(student, NO_AUXILIARY)
    memory.take_over()
    with torch.no_grad():
        output = student(1 + torch.rand(30, 6), 1 + torch.rand(30, 4))
    for _ in range(15):
        memory.accumulate(output)
    torch.testing.assert_close(memory.vectors[0][0].detach(), 0.9 * layer.memory[0])
    torch.testing.assert_close(layer.memory[0], unit_rows(-torch.ones(1, 10))[0])


def test_only_the_spread_loss_lets_the_optimiser_move_a_memory(data):
    for strength in (0.0, 0.01):
        trainer = released_trainer(
            data,
            student_for(data),
            routing=RoutingConfig(**{**ZERO, "self_similarity": strength}),
        )
        trainer.accumulate_gradients()
        moved = [vectors.grad is not None and bool(vectors.grad.any()) for vectors in trainer.memory.vectors]
        assert moved == [strength > 0] * 2


def test_the_spread_loss_turns_a_memory_and_does_not_lengthen_it(data):
    routing = RoutingConfig(**{**ZERO, "self_similarity": 0.01, "ema_decay": 1.0})  # nothing else moves it
    trainer = released_trainer(data, student_for(data), routing=routing)
    trainer.accumulate_gradients()
    for vectors in trainer.memory.vectors:
        assert vectors.grad.norm(dim=1).min() > 1e-6
        along = torch.nn.functional.cosine_similarity(vectors.grad, vectors.detach())
        torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-5, rtol=0)


def test_weights_of_an_expert_add_up_to_one_over_the_batch(data):
    routing = routed_batch(data).layers[0]
    sums = batch_softmax(routing).sum(dim=0)
    used = torch.bincount(routing.experts.flatten(), minlength=4) > 0
    torch.testing.assert_close(sums, used.float())


def test_logits_jump_when_routing_starts(data):
    student = student_for(data, gains=True)
    for layer in student.memory_layers():
        torch.nn.init.zeros_(layer.bias)
    trainer = warming_up(data, student)
    before = predict(student, data.inputs.scaled).logits
    trainer.start_routing(seed=0)
    after = predict(student, data.inputs.scaled).logits
    torch.testing.assert_close(after, before * (2.0 * 1.1) ** 2, rtol=1e-4, atol=1e-4)
    assert student.memory_layers()[0].log_scale.item() == pytest.approx(math.log(2))


def test_the_optimiser_keeps_the_moments_of_the_one_expert_that_learnt(data):
    student = student_for(data)
    trainer = warming_up(data, student)
    trainer.train_epoch()
    before = [trainer._optimizer.state[layer.weight]["exp_avg"][0].clone() for layer in student.layers]
    trainer.start_routing(seed=0)
    for layer, kept in zip(student.memory_layers(), before, strict=True):
        moments = trainer._optimizer.state[layer.weight]["exp_avg"]
        assert kept.any()
        assert moments[0].equal(kept)
        assert not moments[1:].any()


def test_an_epoch_of_the_warm_up_can_be_kept_and_says_the_same_routed(data):
    student, inputs = student_for(data, gains=True), data.inputs
    trainer = warming_up(data, student)
    alone = predict(student, inputs.scaled).logits
    early_stopping = EarlyStopping(patience=5)
    early_stopping.observe(EpochMetrics(epoch=0, val_accuracy=1.0, val_loss=0.0, test_accuracy=0.0), student)
    trainer.start_routing(seed=0)
    trainer.train_epoch()
    early_stopping.observe(trainer.measure(epoch=1), student)
    assert trainer.restore(early_stopping, seed=0).epoch == 0
    output = predict(student, inputs.scaled)
    assert len(output.layers) == 2
    torch.testing.assert_close(output.logits, alone, atol=1e-5, rtol=1e-4)


def test_unit_noise_shakes_every_column_alike(small_config, dataset, data, log):
    released = prepare_training_data(
        small_config.model_copy(update={"compat": "released"}), dataset, seed=0, log=log
    )
    own, unit = data.teacher.entropy_shift, released.teacher.entropy_shift
    assert unit.mean() > 1.5 * own.mean()  # rows of norm 1 drown in it


def test_an_mlp_can_be_trained_as_the_released_code_does(small_config, data, log):
    student = small_config.student.model_copy(update={"kind": "mlp"})
    config = small_config.model_copy(update={"student": student, "compat": "released"})
    trained = train_student(config, data, 0, log, Checkpoint(None, log))
    assert (trained.student.kind, len(trained.history)) == ("mlp", small_config.distill.max_epochs)
    assert trained.validation.val_accuracy > 0.6


def test_a_released_run_ends_in_a_bundle(small_experiment, tmp_path):
    folder = tmp_path / "run"
    assert main(["run", str(small_experiment), "--set", "compat=released", "--out", str(folder)]) == 0
    assert read_bundle(folder / "bundle").manifest.provenance.config["compat"] == "released"
