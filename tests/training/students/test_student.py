import pytest
import torch

from rbm_training.config import StudentConfig
from rbm_training.data.scaling import InputScaling
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.kind import build_student
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import FollowingLayer, RbMLayer
from tests.training.objects import routed_student


def built(**shape):
    config = StudentConfig(num_layers=3, hidden=8, **{"moe_layers": "all", **shape})
    return build_student(InputScaling(6, "l2", 0.5), [10, 8, 8, 3], config)


def test_a_student_counts_its_parameters_by_the_formula():
    E = 4
    student = built(input_gains=True)
    layers = [(10, 8), (8, 8), (8, 3)]
    assert student.num_parameters() == sum(E * (a * b + b) + E * a + 1 + E * a for a, b in layers)


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ({"kind": "mlp"}, [ExpertLayer] * 3),
        ({"kind": "rbm"}, [RbMLayer] * 3),
        ({"kind": "moe"}, [MoELayer] * 3),
        ({"kind": "rbm", "moe_layers": "last"}, [ExpertLayer, ExpertLayer, RbMLayer]),
        ({"kind": "moe", "moe_layers": "last"}, [ExpertLayer, ExpertLayer, MoELayer]),
        ({"kind": "rbm", "num_experts": (1, 4, 2)}, [ExpertLayer, RbMLayer, RbMLayer]),
        ({"kind": "moe", "num_experts": (4, 1, 2)}, [MoELayer, ExpertLayer, MoELayer]),
        ({"kind": "rbm", "shared_routing": True}, [RbMLayer, FollowingLayer, FollowingLayer]),
    ],
    ids=str,
)
def test_every_layer_is_of_the_kind_asked_for_and_plain_where_it_has_one_expert(shape, kinds):
    student = built(**shape)
    assert [type(layer) for layer in student.expert_layers()] == kinds
    assert len(student.memory_layers()) == kinds.count(RbMLayer)


def test_layers_may_differ_in_their_experts_and_a_short_one_uses_all():
    student = routed_student(widths=(8, 8, 3), num_experts=(1, 4, 2), top_k=3)
    output = student(torch.randn(20, 6), torch.randn(20, 4))
    assert [routing.num_experts for routing in output.layers] == [1, 4, 2]
    assert [routing.experts.shape[1] for routing in output.layers] == [1, 3, 2]
    assert [layer.top_k for layer in student.expert_layers()] == [1, 3, 2]


def test_a_layer_of_one_expert_is_a_plain_linear_one():
    student = routed_student(num_experts=1, top_k=1)
    features, positions = torch.randn(20, 6), torch.randn(20, 4)
    first, last = student.expert_layers()
    hidden = student.scaling(features, positions) @ first.weight[0] + first.bias[0]
    output = student(features, positions)
    torch.testing.assert_close(output.representation, hidden)
    torch.testing.assert_close(output.logits, hidden.relu() @ last.weight[0] + last.bias[0])


def test_the_first_layer_alone_may_be_routed_by_a_part_of_its_input():
    layers = built(routing_input="positions").memory_layers()
    assert [layer.routing_input for layer in layers] == ["positions", "all", "all"]
    assert layers[0].num_features == 6


@pytest.mark.parametrize("top_k", [1, 3])
def test_with_shared_routing_a_row_stays_with_the_experts_and_weights_of_the_first_layer(top_k):
    student = routed_student(widths=(8, 5, 3), top_k=top_k, shared_routing=True, gains=False)
    features, positions = torch.randn(20, 6), torch.randn(20, 4)
    output = student(features, positions)
    (routing,) = output.layers
    x = student.scaling(features, positions)
    for layer in student.expert_layers():
        every_expert = torch.einsum("bd,edh->beh", x, layer.weight) + layer.bias
        mixed = layer.scale() * torch.einsum("be,beh->bh", routing.gates(), every_expert)
        x = mixed.relu()
    assert len(routing.experts.unique()) == 4
    torch.testing.assert_close(output.logits, mixed)


def test_with_shared_routing_a_warm_up_is_of_the_first_expert_alone():
    student = built(shared_routing=True, dropout=0.0)
    features, positions = torch.randn(20, 6), torch.randn(20, 4)
    output = student(features, positions)
    x = student.scaling(features, positions)
    for layer in student.expert_layers():
        last = x @ layer.weight[0] + layer.bias[0]
        x = last.relu()
    torch.testing.assert_close(output.logits, last)
    assert output.layers == ()


def test_the_input_may_be_spared_from_dropout():
    rates = [layer.dropout for layer in built(dropout=0.5, input_dropout=False).expert_layers()]
    assert rates == [0.0, 0.5, 0.5]


def test_a_copy_for_export_says_the_same_and_leaves_the_student_and_its_shared_scaling_alone():
    student = routed_student().train()
    copied = student.on_cpu()
    features, positions = torch.randn(20, 6), torch.randn(20, 4)
    assert (student.training, copied.training) == (True, False)
    assert copied.scaling is not student.scaling
    assert copied(features, positions).logits.equal(student.eval()(features, positions).logits)
