import pytest
import torch

from rbm_training.students.rbm import RbMLayer


def layer_of(num_experts=4, experts_per_row=2, in_width=6, out_width=5, gains=False):
    torch.manual_seed(1)
    return RbMLayer(in_width, out_width, num_experts, experts_per_row, dropout=0.0, gains=gains)


@pytest.mark.parametrize("experts_per_row", [1, 2, 3, 4])
@pytest.mark.parametrize("gains", [False, True])
def test_equal_experts_are_one_linear_layer_for_any_memory(experts_per_row, gains):
    layer = layer_of(experts_per_row=experts_per_row, gains=gains)
    x = torch.randn(33, 6)
    before, routing = layer(x)
    assert routing is None
    layer.start_routing(torch.randn(4, 6))
    after, routing = layer(x)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
    assert routing.experts.shape == (33, experts_per_row)


def test_the_output_is_the_weighted_sum_of_the_chosen_experts():
    layer = layer_of(gains=True)
    layer.start_routing(torch.randn(4, 6))
    for parameter in (layer.weight, layer.bias, layer.log_gain):
        torch.nn.init.normal_(parameter)
    layer.log_scale.data.fill_(0.3)
    x = torch.randn(9, 6)
    output, routing = layer(x)
    for b in range(9):
        wanted = sum(
            routing.weights[b, j] * ((layer.log_gain[e].exp() * x[b]) @ layer.weight[e] + layer.bias[e])
            for j, e in enumerate(routing.experts[b])
        )
        torch.testing.assert_close(output[b], layer.log_scale.exp() * wanted, atol=1e-5, rtol=1e-5)


def test_the_task_loss_moves_neither_memory_nor_mixing_weights():
    layer = layer_of()
    layer.start_routing(torch.randn(4, 6))
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(9, 6, requires_grad=True)
    output, routing = layer(x)
    routing.weights.retain_grad()
    output.square().sum().backward()
    assert routing.weights.grad is None
    assert not layer.memory.requires_grad
    assert layer.weight.grad.abs().sum() > 0


def test_ties_go_to_the_lowest_index():
    layer = layer_of()
    layer.start_routing(torch.eye(4, 6))
    routing = layer.route(torch.tensor([[0.0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]]))
    assert routing.experts.tolist() == [[1, 2], [0, 1], [3, 0]]
    assert routing.gap.tolist() == pytest.approx([2**-0.5, 0, 0])


def test_an_all_zero_row_has_similarity_zero_and_goes_to_the_first_experts():
    layer = layer_of(experts_per_row=3)
    layer.start_routing(torch.randn(4, 6))
    routing = layer.route(torch.zeros(2, 6))
    assert routing.experts.tolist() == [[0, 1, 2]] * 2
    assert routing.similarity.abs().max() == 0
    torch.testing.assert_close(routing.weights, torch.full((2, 3), 1 / 3))
    assert routing.gap.isinf().all()  # a tie, but one that no rounding can decide otherwise
