import torch

from rbm_training.distillation.routing_losses import commitment, load_balance
from tests.training.objects import routed_student


def test_commitment_pulls_inputs_towards_their_memories_only():
    layer = routed_student(widths=(3,)).memory_layers()[0]
    x = torch.randn(5, 10, requires_grad=True)
    commitment([layer.route(x)]).backward()
    before, after = layer.route(x.detach()), layer.route(x.detach() - 0.1 * x.grad)
    assert float(commitment([after])) < float(commitment([before]))
    assert layer.memory.grad is None


def test_load_balance_is_zero_for_an_even_load_and_grows_with_unevenness():
    layer = routed_student(widths=(3,), num_experts=4, top_k=1).memory_layers()[0]
    layer.memory.copy_(torch.eye(4, 10))
    even, uneven = torch.eye(4, 10), torch.eye(4, 10)[[0, 0, 0, 1]]
    assert float(load_balance([layer.route(even)])) == 0
    assert float(load_balance([layer.route(uneven)])) > 1
    assert float(load_balance([layer.route(uneven)] * 2)) > 2
