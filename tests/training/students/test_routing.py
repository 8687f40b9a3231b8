import math

import pytest
import torch

from rbm_training.students.routing import LayerChoices, RoutingMonitor, expert_usage


def routing_of(experts, num_experts):
    return LayerChoices(torch.tensor(experts), num_experts)


def test_even_use_has_an_entropy_of_one_and_a_single_expert_of_zero():
    even, single = routing_of([[0], [1], [2], [3]], 4), routing_of([[2]] * 4, 4)
    entropies = [use.entropy for use in RoutingMonitor().observe([even, single])]
    assert entropies == pytest.approx([1, 0])


def test_use_counts_every_choice_of_a_row():
    use = RoutingMonitor().observe([routing_of([[0, 1], [0, 2]], 4)])[0]
    assert use.usage == [0.5, 0.25, 0.25, 0]
    assert use.entropy == pytest.approx(1.5 * math.log(2) / math.log(4))


def test_rows_switch_when_their_first_expert_is_another():
    monitor = RoutingMonitor()
    epochs = [[[0, 1], [1, 2], [2, 0]], [[0, 2], [2, 1], [2, 1]], [[1, 0], [0, 1], [1, 2]]]
    assert [monitor.observe([routing_of(experts, 3)])[0].switching for experts in epochs] == [
        None,
        pytest.approx(1 / 3),
        1,
    ]


def test_layers_without_a_choice_are_passed_over():
    monitor = RoutingMonitor()
    plain, mixture = routing_of([[0], [0]], 1), routing_of([[0], [1]], 2)
    assert monitor.observe([plain]) == []
    assert len(monitor.observe([plain, mixture])) == 1
    second = monitor.observe([plain, mixture])[0]
    assert (second.layer, second.switching) == (1, 0)


def test_shares_of_each_layer_add_up_to_one():
    assert expert_usage([routing_of([[0], [0]], 1), routing_of([[0], [1]], 4)]) == [[1], [0.5, 0.5, 0, 0]]
