import pytest
import torch

from rbm_training.config import RoutingConfig
from rbm_training.data.sparse_rows import unit_rows
from rbm_training.students.rbm.memory_ema import MemoryAverager, repel
from rbm_training.students.student import StudentOutput
from tests.training.objects import routed_student

PURE_AVERAGE = RoutingConfig(self_similarity=0.0)


def routed_output(layer, batch):
    """What a student of this one layer would have been told about a batch."""
    return StudentOutput(batch, batch, (layer.route(batch),))


def memory_after(config, batches, num_steps=1, memory=None):
    """The first layer's memory after steps that each see all batches."""
    student = routed_student(widths=(3,), num_experts=4, top_k=2)
    layer = student.memory_layers()[0]
    if memory is not None:
        layer.memory.copy_(memory)
    averager = MemoryAverager(student, config)
    for _ in range(num_steps):
        for batch in batches:
            averager.accumulate(routed_output(layer, batch))
        averager.step()
    return layer.memory.clone()


def test_an_expert_without_rows_keeps_its_direction():
    memory = unit_rows(torch.tensor([[1.0, 0], [1, 0.1], [-1, 0], [-1, 0.1]]).repeat(1, 5))
    batch = memory[:2].repeat(5, 1)  # near experts 0 and 1 only
    after = memory_after(PURE_AVERAGE, [batch], memory=memory)
    torch.testing.assert_close(after[2:], memory[2:], atol=0, rtol=0)
    assert not torch.equal(after[:2], memory[:2])


def test_the_order_of_rows_leaves_the_memory_unchanged():
    batch = torch.randn(40, 10, dtype=torch.float64).float()
    shuffled = batch[torch.randperm(40)]
    torch.testing.assert_close(memory_after(PURE_AVERAGE, [batch]), memory_after(PURE_AVERAGE, [shuffled]))


def test_the_cut_into_batches_leaves_the_memory_unchanged():
    batch = torch.randn(40, 10)
    whole = memory_after(PURE_AVERAGE, [batch])
    torch.testing.assert_close(memory_after(PURE_AVERAGE, batch.split(7)), whole)


def test_a_decay_of_one_freezes_the_memory():
    student = routed_student(widths=(3,))
    before = student.memory_layers()[0].memory.clone()
    config = RoutingConfig(ema_decay=1.0, self_similarity=0.5, reinit_dead_after=1)
    assert torch.equal(memory_after(config, [torch.randn(20, 10)], num_steps=5), before)


def test_one_step_is_the_mass_weighted_average_of_the_paper():
    batch = torch.randn(40, 10)
    student = routed_student(widths=(3,))
    layer = student.memory_layers()[0]
    routing = layer.route(batch)
    wanted = []
    for expert in range(4):
        mass = (routing.weights * (routing.experts == expert)).sum(dim=1)
        mean = (mass[:, None] * unit_rows(batch)).sum(dim=0) / mass.sum()
        wanted.append(unit_rows((0.9 * layer.memory[expert] + 0.1 * mean)[None])[0])
    torch.testing.assert_close(memory_after(PURE_AVERAGE, [batch]), torch.stack(wanted))


def test_the_push_is_tangent_and_spreads_the_memories():
    memory = unit_rows(torch.randn(5, 8) + 2)
    pushed = repel(memory, 0.1)
    towards_others = (memory.sum(dim=0) - memory) / 4
    assert ((pushed * towards_others).sum(dim=1) < (memory * towards_others).sum(dim=1)).all()
    torch.testing.assert_close(pushed.norm(dim=1), torch.ones(5))
    step = pushed - memory * (pushed * memory).sum(dim=1, keepdim=True)  # tangent part
    in_plane = towards_others - memory * (towards_others * memory).sum(dim=1, keepdim=True)
    cosine = (step * in_plane).sum(dim=1) / (step.norm(dim=1) * in_plane.norm(dim=1))
    torch.testing.assert_close(cosine, torch.full((5,), -1.0))


def test_an_idle_expert_takes_over_the_worst_served_input():
    memory = torch.eye(4, 10)
    memory[2:] = -memory[:2]  # experts 2 and 3 are far from every row
    rows = unit_rows(torch.eye(10)[:2] + 0.1 * torch.eye(10)[7])
    outlier = unit_rows(torch.eye(10)[8:9] + 0.05 * torch.eye(10)[0])
    config = RoutingConfig(self_similarity=0.0, reinit_dead_after=3)
    before = memory_after(config, [rows, outlier], num_steps=2, memory=memory)
    after = memory_after(config, [rows, outlier], num_steps=3, memory=memory)
    assert torch.equal(before[2], memory[2])
    torch.testing.assert_close(after[2], outlier[0])


def test_a_revived_expert_computes_what_served_its_new_input():
    student = routed_student(widths=(3,), gains=True)
    layer = student.memory_layers()[0]
    layer.memory.copy_(torch.eye(4, 10))
    layer.memory[2:] = -layer.memory[:2]
    averager = MemoryAverager(student, RoutingConfig(self_similarity=0.0, reinit_dead_after=1))
    rows = unit_rows(torch.eye(10)[:2] + 0.1 * torch.eye(10)[7])
    averager.accumulate(routed_output(layer, rows))
    averager.step()
    weight = layer.effective_weight()
    assert any(torch.equal(weight[2], weight[serving]) for serving in (0, 1))


def test_with_shared_routing_a_revived_expert_is_a_copy_in_all_layers():
    student = routed_student(widths=(8, 5, 3), shared_routing=True)
    first, *others = student.expert_layers()
    first.memory.copy_(torch.eye(4, 10))
    first.memory[2:] = -first.memory[:2]
    averager = MemoryAverager(student, RoutingConfig(self_similarity=0.0, reinit_dead_after=1))
    averager.accumulate(routed_output(first, unit_rows(torch.eye(10)[:2] + 0.1 * torch.eye(10)[7])))
    averager.step()
    (serving,) = (e for e in (0, 1) if torch.equal(first.weight[2], first.weight[e]))
    for layer in others:
        for parameter in (layer.weight, layer.bias, layer.log_gain):
            assert torch.equal(parameter[2], parameter[serving])
            assert not torch.equal(parameter[3], parameter[serving])


def test_euclidean_memories_move_to_the_mean_of_their_rows_and_are_neither_normalised_nor_pushed():
    student = routed_student(widths=(3,), top_k=1, metric="euclidean")
    layer = student.memory_layers()[0]
    layer.memory.copy_(10 * torch.eye(4, 10))
    averager = MemoryAverager(student, RoutingConfig(self_similarity=0.5, ema_decay=0.75))
    batch = 10 * torch.eye(4, 10)[[0, 0, 1]] + torch.randn(3, 10)
    averager.accumulate(routed_output(layer, batch))
    averager.step()
    wanted = 10 * torch.eye(4, 10)
    wanted[0] = 0.75 * wanted[0] + 0.25 * batch[:2].mean(dim=0)
    wanted[1] = 0.75 * wanted[1] + 0.25 * batch[2]
    torch.testing.assert_close(layer.memory, wanted)


@pytest.mark.parametrize("decay", [0.9, 1.0])
def test_the_centre_of_queries_moves_to_the_mean_of_all_rows_of_a_step(decay):
    student = routed_student(widths=(3,), center_queries=True)
    layer = student.memory_layers()[0]
    before, rows = torch.rand(10), torch.randn(40, 10)
    layer.center.copy_(before)
    averager = MemoryAverager(student, RoutingConfig(ema_decay=decay))
    for batch in rows.split(7):
        averager.accumulate(routed_output(layer, batch))
    averager.step()
    torch.testing.assert_close(layer.center, decay * before + (1 - decay) * rows.mean(dim=0))


def test_layers_without_a_memory_are_passed_over():
    student = routed_student(widths=(8, 3), num_experts=(1, 4))
    averager = MemoryAverager(student, PURE_AVERAGE)
    before = student.memory_layers()[0].memory.clone()
    averager.accumulate(student(torch.randn(20, 6), torch.randn(20, 4)))
    averager.step()
    assert not torch.equal(student.memory_layers()[0].memory, before)
    router = routed_student(kind="moe", gains=False)
    averager = MemoryAverager(router, PURE_AVERAGE)
    averager.accumulate(router(torch.randn(20, 6), torch.randn(20, 4)))
    averager.step()
    assert averager.layers == [None, None]
