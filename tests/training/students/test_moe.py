import math

import pytest
import torch

from rbm_training.config import RoutingConfig
from rbm_training.students.moe import MOE, MoELayer
from tests.training.objects import routed_student


def layer_of(router_top_k="k", num_experts=8, top_k=3, in_width=6):
    torch.manual_seed(1)
    layer = MoELayer(in_width, 5, num_experts, top_k, router_width=7, router_top_k=router_top_k)
    layer.upcycle()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.projection_bias)
    return layer.eval()


@pytest.mark.parametrize(("router_top_k", "used"), [("k", 3), ("k_plus_1", 4)])
def test_a_row_touches_exactly_the_experts_asked_for_or_as_released_one_more(router_top_k, used):
    layer = layer_of(router_top_k)
    x = torch.randn(1, 6)
    before, routing = layer(x)
    assert routing.experts.shape == (1, used)
    touched = []
    for expert in range(8):
        weight = layer.weight.detach().clone()
        layer.weight.data[expert] += 1
        touched.append(not torch.equal(layer(x)[0], before))
        layer.weight.data.copy_(weight)
    assert torch.tensor(touched).nonzero().flatten().tolist() == sorted(routing.experts[0].tolist())


def test_the_weights_of_k_experts_sum_to_one():
    routing = layer_of("k").route(torch.randn(20, 6))
    torch.testing.assert_close(routing.weights.sum(dim=1), torch.ones(20))


def test_the_weights_of_the_released_router_are_a_softmax_over_all_experts():
    layer, x = layer_of("k_plus_1"), torch.randn(20, 6)
    routing = layer.route(x)
    u = torch.nn.functional.normalize(x @ layer.projection + layer.projection_bias)
    cosines = u @ torch.nn.functional.normalize(layer.prototypes).T
    everyone = (2 * cosines).softmax(dim=1)
    torch.testing.assert_close(routing.weights, everyone.topk(4, dim=1).values)
    assert routing.weights.sum(dim=1).max() < 1


@pytest.mark.parametrize("router_top_k", ["k", "k_plus_1"])
def test_all_experts_may_be_asked_for(router_top_k):
    routing = layer_of(router_top_k, num_experts=3, top_k=3).route(torch.randn(5, 6))
    assert routing.experts.shape == (5, 3)
    torch.testing.assert_close(routing.weights.sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("router_top_k", ["k", "k_plus_1"])
def test_the_gradient_of_the_task_reaches_the_router(router_top_k):
    layer = layer_of(router_top_k).train()
    layer(torch.randn(20, 6))[0].square().sum().backward()
    for name in ("projection", "projection_bias", "prototypes", "log_inverse_temperature"):
        assert getattr(layer, name).grad.any(), name


def test_noise_has_no_part_in_the_gradient_of_the_inverse_temperature():
    layer, x = layer_of(num_experts=2, top_k=2).train(), torch.zeros(1, 6)
    layer.prototypes.data.copy_(torch.eye(2, 7) + torch.eye(2, 7).flip(0))  # as like to every row
    layer.route(x).weights[0, 0].backward()
    assert abs(float(layer.log_inverse_temperature.grad)) < 1e-6


def test_noise_shakes_the_router_in_training_alone():
    layer, x = layer_of(), torch.randn(200, 6)
    quiet = [layer.route(x).similarity for _ in range(2)]
    assert torch.equal(*quiet)
    layer.train()
    noisy = [layer.route(x).experts for _ in range(2)]
    assert not torch.equal(*noisy)


def test_the_noise_has_a_deviation_of_one_over_the_number_of_experts():
    layer = layer_of(num_experts=4, top_k=4).train()
    x = torch.randn(1, 6).expand(20_000, 6)
    with torch.no_grad():
        routing = layer.route(x)
        logits = math.exp(layer.log_inverse_temperature) * torch.zeros(len(x), 4).scatter(
            1, routing.experts, routing.similarity
        )
    torch.testing.assert_close(logits.std(dim=0), torch.full((4,), 0.25), atol=0.01, rtol=0)


def test_starting_to_route_changes_no_output():
    torch.manual_seed(1)
    layer, x = MoELayer(6, 5, 8, 3, router_width=7), torch.randn(20, 6)
    before, routing = layer(x)
    assert routing is None
    layer.upcycle()
    after, routing = layer.eval()(x)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
    assert routing.experts.shape == (20, 3)


def test_a_row_of_zeros_leaves_the_gradient_of_the_router_small():
    layer = layer_of()
    layer.projection_bias.data.zero_()  # as at the start
    layer(torch.zeros(3, 6))[0].square().sum().backward()
    assert layer.projection_bias.grad.abs().max() < 100


def test_a_mixture_with_a_learnt_router_starts_without_changing_what_the_student_says():
    student = routed_student(kind="moe", gains=False)
    for layer in student.expert_layers():
        layer.routed = False
        layer.log_scale.data.zero_()
    features, positions = torch.randn(60, 6), torch.randn(60, 4)
    before = student(features, positions)
    MOE.start_routing(student, student.scaling(features, positions), RoutingConfig(), seed=0, batch_rows=100)
    after = student(features, positions)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=1e-5)
    assert (len(before.layers), len(after.layers)) == (0, 2)
