import pytest
import torch

from rbm_training.scaling import InputScaling
from rbm_training.students.rbm import RbMLayer, build_student


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


def test_a_student_counts_its_parameters_by_the_formula():
    D, H, C, E = 10, 8, 3, 4
    student = build_student(InputScaling(6, "l2", 0.5), [D, H, C], E, 2, 0.0, input_gains=True)
    layers = [(D, H), (H, C)]
    assert student.num_parameters() == sum(E * (a * b + b) + E * a + 1 + E * a for a, b in layers)


def test_scaled_inputs_do_not_depend_on_the_length_of_the_rows():
    scaling = InputScaling(3, "l2", 0.5)
    features, positions = torch.randn(5, 3), torch.randn(5, 2)
    scaled = scaling(features, positions)
    torch.testing.assert_close(scaling(7 * features, 0.1 * positions), scaled)
    torch.testing.assert_close(scaled[:, :3].norm(dim=1), torch.ones(5))
    torch.testing.assert_close(scaled[:, 3:].norm(dim=1), torch.full((5,), 0.5))
    assert scaling(torch.zeros(1, 3), torch.zeros(1, 2)).abs().sum() == 0


@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.3, 0.0, -3.7])
def test_a_constant_column_is_shifted_and_never_blown_up(constant):
    features = torch.full((400, 1), constant)
    scaled = InputScaling(1, "standardised", None).fit(features).scale_features(features + 0.05)
    assert scaled.abs().max() < 0.2


def test_standardised_columns_have_mean_zero_and_deviation_one():
    features = torch.randn(200, 3) * torch.tensor([1.0, 5.0, 0.0]) + 4
    scaled = InputScaling(3, "standardised", None).fit(features).scale_features(features)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        scaled.std(dim=0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-5, rtol=0
    )
