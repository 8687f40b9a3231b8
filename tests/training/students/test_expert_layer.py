from functools import partial

import pytest
import scipy.sparse as sp
import torch

from rbm_training.data.sparse_rows import rows_of
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import RbMLayer
from tests.training.objects import CPU
from tests.training.tensor_sizes import TensorSizes

B, D, H, E = 60, 10, 12, 8


def layer_of(kind, in_width=D):
    """A layer that routes, with weights, gains and a scale of some kind, in double precision."""
    if kind == "rbm":
        layer = RbMLayer(in_width, H, E, 2, gains=True)
        layer.start_routing(torch.randn(E, in_width))
    else:
        layer = MoELayer(in_width, H, E, 2, router_width=6)
        layer.upcycle()
    for name, parameter in layer.named_parameters():
        if name not in ("prototypes", "projection"):
            torch.nn.init.normal_(parameter, std=0.3)
    return layer.double().eval()


@pytest.mark.parametrize("kind", ["rbm", "moe"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_a_pass_and_its_gradient_never_hold_the_outputs_of_all_experts(kind, form):
    layer, x = layer_of(kind), torch.randn(B, D).relu()
    inputs = x.double().requires_grad_()
    if form == "sparse":
        inputs = rows_of(sp.csr_array(x.numpy()), CPU).to(torch.float64)
    with TensorSizes() as sizes:
        layer(inputs)[0].square().sum().backward()
    assert sizes.largest < B * E * H


@pytest.mark.parametrize("in_width", [D, E * H], ids=["wide experts", "narrow experts"])
@pytest.mark.parametrize("kind", ["rbm", "moe"])
def test_the_output_and_its_gradients_are_those_of_the_weighted_sum_of_experts(kind, in_width):
    layer = layer_of(kind, in_width)
    x, other = (torch.randn(B, in_width, dtype=torch.float64).requires_grad_() for _ in range(2))
    other.data.copy_(x.data)
    output, routing = layer(x)
    everyone = torch.einsum("bd,edh->beh", other, layer.effective_weight()) + layer.bias
    gates = routing.gates() if layer.weights_learn else routing.gates().detach()
    wanted = layer.scale() * torch.einsum("be,beh->bh", gates, everyone)
    torch.testing.assert_close(output, wanted)
    learnt = [layer.weight, layer.bias, layer.log_scale]
    found, expected = (
        torch.autograd.grad(result.square().sum(), learnt, retain_graph=True) for result in (output, wanted)
    )
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("kind", ["rbm", "moe"])
def test_experts_stand_side_by_side_where_that_is_no_more_than_their_input(kind):
    layer, x = layer_of(kind, E * H), torch.randn(500, E * H, dtype=torch.float64)
    with TensorSizes() as sizes:
        layer(x)
    assert sizes.largest == 500 * E * H == x.numel()


def test_an_expert_that_no_row_chose_learns_nothing_and_breaks_nothing():
    layer = layer_of("rbm")
    layer.memory[3] = -layer.memory[[0, 1, 2, 4, 5, 6, 7]].mean(dim=0)
    row = layer.memory[:1].clone()
    output, routing = layer(row)
    assert 3 not in routing.experts
    output.sum().backward()
    assert not layer.weight.grad[3].any()
    assert layer.weight.grad[0].any()


def dropped_output(expert_dropout, form, kind):
    """A layer of two equal experts, and what it makes of rows of ones by weights of one in training: twice
    the columns that a mask leaves, the mean of both masks."""
    kinds = {"rbm": RbMLayer, "moe": partial(MoELayer, router_width=6)}
    layer = kinds[kind](D, 2, 2, 2, dropout=0.5, expert_dropout=expert_dropout)
    layer.start_routing(torch.ones(2, D)) if kind == "rbm" else layer.upcycle()
    torch.nn.init.ones_(layer.weight)
    x = torch.ones(B, D)
    rows = x if form == "dense" else rows_of(sp.csr_array(x.numpy()), CPU)
    return layer, layer(rows)[0][:, 0]


@pytest.mark.parametrize("kind", ["rbm", "moe"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_the_experts_of_a_row_have_one_dropout_mask_or_one_each(form, kind):
    _, shared = dropped_output(False, form, kind)
    layer, apart = dropped_output(True, form, kind)
    torch.testing.assert_close(shared / 2, (shared / 2).round())
    assert ((apart / 2).frac() > 0.01).any()
    assert apart.std() < shared.std()
    torch.testing.assert_close(apart.mean(), torch.tensor(float(D)), rtol=0.1, atol=0.0)
    layer.eval()
    torch.testing.assert_close(layer(torch.ones(1, D))[0], torch.full((1, 2), float(D)))


def test_dropout_of_experts_is_that_of_the_layer_in_the_warm_up():
    layer = RbMLayer(D, H, 2, 2, dropout=0.5, expert_dropout=True)
    x, outputs = torch.randn(B, D), []
    for expert_dropout in (True, False):
        layer.expert_dropout = expert_dropout
        torch.manual_seed(0)
        outputs.append(layer(x)[0])
    assert torch.equal(*outputs)


def test_noise_tells_the_clones_apart_and_leaves_the_first_expert():
    layer = RbMLayer(200, H, E, 2)
    first = layer.weight[0].detach().clone()
    layer.upcycle(noise=0.1)
    assert torch.equal(layer.weight[0], first)
    noise = (layer.weight[1:] - first) / first.square().mean().sqrt()
    torch.testing.assert_close(noise.std(dim=(1, 2)), torch.full((E - 1,), 0.1), rtol=0.1, atol=0.0)
    layer.upcycle()
    assert torch.equal(layer.weight, first.expand(E, -1, -1))
