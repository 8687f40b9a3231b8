from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rbm_training.config import RoutingConfig
from rbm_training.distillation.predictions import predict
from rbm_training.distillation.trainer import REFIT_AFTER_EPOCHS
from rbm_training.students.routing import expert_usage
from tests.training.objects import NO_BALANCE, memories_of, settled, student_for, trainer_for


def epoch_gradient(data, batch_rows):
    """The first epoch's gradient of a routed student, for a batch size."""
    student = student_for(data)
    torch.manual_seed(5)
    trainer = trainer_for(data, student, NO_BALANCE, batch_rows=batch_rows, pairs="reliable")
    trainer.routing_started = True
    trainer.accumulate_gradients()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def with_weights(data, *weights):
    return replace(data, inputs=replace(data.inputs, class_weights=torch.tensor(weights)))


def test_weights_of_classes_are_those_of_a_weighted_mean_whatever_the_batches(data):
    weights = torch.tensor([1.0, 4.0, 1.0, 0.5])
    student, inputs = student_for(data), data.inputs
    terms = []
    for batch_rows in (None, 7):
        trainer = trainer_for(with_weights(data, *weights.tolist()), student, batch_rows=batch_rows)
        trainer.accumulate_gradients()
        terms.append(trainer.last_terms["hard_label"])
    logits = predict(student, inputs.scaled).logits[inputs.train]
    wanted = F.cross_entropy(logits, inputs.labels[inputs.train], weights)
    assert terms == pytest.approx([trainer.config.hard_label_weight * float(wanted)] * 2, rel=1e-5)


@pytest.mark.parametrize("batch_rows", [1, 7, 100, 10_000])
def test_the_epoch_gradient_does_not_depend_on_the_batch_size(data, batch_rows):
    whole = epoch_gradient(data, None)
    torch.testing.assert_close(epoch_gradient(data, batch_rows), whole, atol=1e-5, rtol=1e-4)


def test_the_memory_rests_while_one_expert_warms_up(data):
    student = student_for(data)
    for layer in student.memory_layers():
        layer.routed = False
    trainer = trainer_for(data, student)
    for _ in range(trainer.routing.reinit_dead_after + 2):
        trainer.train_epoch()
    assert all((average.idle_steps == 0).all() for average in trainer.memory.layers)


def test_the_task_moves_no_memory_and_the_push_apart_moves_it_along_the_sphere(data):
    before = memories_of(trainer_for(data, student_for(data)))
    frozen = settled(data, RoutingConfig(ema_decay=1.0))
    for memory, start in zip(memories_of(frozen), before, strict=True):
        assert torch.equal(memory, start)
    still, pushed = (settled(data, RoutingConfig(self_similarity=strength)) for strength in (0.0, 0.1))
    assert not any("memory" in name for name, _ in still.student.named_parameters())
    for memory, other in zip(memories_of(pushed), memories_of(still), strict=True):
        assert not torch.equal(memory, other)
        torch.testing.assert_close(memory.norm(dim=1), torch.ones_like(memory[:, 0]))


def test_a_hub_weighs_as_much_as_a_leaf_when_nodes_count_alike(data):
    teacher = data.teacher
    steady = replace(data, teacher=replace(teacher, entropy_shift=torch.zeros_like(teacher.entropy_shift)))
    degrees = torch.bincount(data.edge_index[0], minlength=len(data.inputs.labels))
    assert degrees.max() > 2 * degrees.float().mean()
    for pair_weight, wanted in (("pair", 1 + degrees), ("node", torch.ones_like(degrees))):
        trainer = trainer_for(steady, student_for(data), pairs="reliable", pair_weight=pair_weight)
        targets = trainer._targets()
        torch.testing.assert_close(targets.num_pairs, wanted.float())
        torch.testing.assert_close(targets.mass.sum(dim=1), wanted.float())


def test_the_gram_term_reaches_the_first_layer_alone_and_its_head_learns(data):
    teacher = replace(data.teacher, representations=torch.randn_like(data.teacher.logits))
    taught = replace(data, teacher=teacher)
    gradients, terms = [], []
    for weight in (0.0, 1.0):
        torch.manual_seed(5)
        student = student_for(data)
        trainer = trainer_for(taught, student, pairs="self", gram=weight)
        trainer.accumulate_gradients()
        gradients.append([layer.weight.grad for layer in student.expert_layers()])
        terms.append(trainer.last_terms["gram"])
    without, with_gram = gradients
    assert not torch.allclose(with_gram[0], without[0], rtol=1e-3)
    torch.testing.assert_close(with_gram[1], without[1])
    assert terms[0] == 0 < terms[1]
    head = list(trainer.terms["gram"].parameters())
    assert {id(parameter) for parameter in head} <= {
        id(parameter) for group in trainer._optimizer.param_groups for parameter in group["params"]
    }
    assert not any("gram" in name or "head" in name for name in student.state_dict())


def test_inputs_moved_against_the_student_teach_it_and_the_memory_does_not_see_them(data):
    plain, attacked = (settled(data, adversarial=weight) for weight in (0.0, 0.5))
    assert attacked.last_terms["adversarial"] > 0.5 * plain.last_terms["distillation"]
    for memory, other in zip(memories_of(attacked), memories_of(plain), strict=True):
        torch.testing.assert_close(memory, other)
    assert not torch.equal(attacked.student.layers[0].weight, plain.student.layers[0].weight)


@pytest.mark.parametrize("shape", [{"num_experts": (1, 4)}, {"kind": "moe"}, {"kind": "mlp"}, {}], ids=str)
def test_the_parts_of_the_loss_are_those_that_the_kind_of_student_has(data, shape):
    student = student_for(data, **shape)
    trainer = trainer_for(data, student)
    trainer.routing_started = trainer.routes
    trainer.train_epoch()
    trainer.measure(0)
    terms = trainer.last_terms
    assert terms["distillation"] > 0
    assert (terms["commitment"] != 0) == ("memory_similarity" in terms) == bool(student.memory_layers())
    assert (terms["load_balance"] > 0) == trainer.routes
    assert len(trainer.last_use) == sum(layer.num_experts > 1 for layer in student.expert_layers())


def rows_asked_for(trainer):
    """The scaled inputs that a measure of the epoch gives the student, in one tensor."""
    asked = []
    layer = trainer.student.layers[0]
    hook = layer.register_forward_hook(lambda layer, inputs, output: asked.append(inputs[0]))
    trainer.measure(0)
    hook.remove()
    return torch.cat(asked)


@pytest.mark.parametrize("batch_rows", [7, None])
def test_an_epoch_is_measured_on_validation_and_test_nodes_alone(data, batch_rows):
    inputs = data.inputs
    trainer = trainer_for(data, student_for(data), batch_rows=batch_rows, pairs="reliable")
    wanted = torch.cat([inputs.scaled[inputs.val], inputs.pseudo_unseen.scaled, inputs.unseen.scaled])
    assert torch.equal(rows_asked_for(trainer), wanted)


def test_all_observed_nodes_are_asked_about_once_the_pairs_are_refitted(data):
    inputs = data.inputs
    trainer = trainer_for(data, student_for(data), pairs="reliable")
    trainer._epochs_done = REFIT_AFTER_EPOCHS
    before = trainer.sampler.exponent
    everyone = torch.cat([inputs.scaled, inputs.unseen.scaled, inputs.pseudo_unseen.scaled])
    assert torch.equal(rows_asked_for(trainer), everyone)
    assert trainer.sampler.exponent != before


def test_the_use_of_experts_is_that_of_validation_nodes(data):
    trainer = trainer_for(data, student_for(data))
    trainer.measure(0)
    routing = predict(trainer.student, data.inputs.scaled[data.inputs.val]).layers
    assert [use.usage for use in trainer.last_use] == expert_usage([layer.choices() for layer in routing])


def test_a_large_graph_is_never_taken_in_one_batch(monkeypatch, data):
    monkeypatch.setattr("rbm_training.config.distill.MAX_DEFAULT_BATCH_ROWS", 50)
    trainer, passes = trainer_for(data, student_for(data)), []
    trainer.student.layers[0].register_forward_hook(
        lambda layer, inputs, output: passes.append(len(output[0]))
    )
    trainer.start_routing(seed=0)
    trainer.train_epoch()
    trainer.measure(0)
    assert max(passes) == 50
