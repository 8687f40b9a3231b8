from types import MappingProxyType

import pytest

from rbm_training.config import StudentConfig
from rbm_training.data.scaling import InputScaling
from rbm_training.students.complexity import Costs
from rbm_training.students.kind import build_student, student_kind

# Of the paper's configurations, by data set: inputs (positions counted), hidden width, layers and classes; of
# each student millions of parameters, and of operations up to a hundredth. The mixture uses one expert more
# than its K, as released.
PUBLISHED_SIZES = {
    "cora": (1497, 512, 3, 7),
    "cora inductive": (1497, 256, 3, 7),
    "citeseer": (3719, 512, 2, 6),
    "pubmed": (516, 256, 2, 3),
    "amazon-computers": (831, 1024, 2, 10),
    "academic-physics": (8479, 64, 2, 5),
    "ogbn-products": (164, 128, 3, 47),
}
MLP = {
    "cora": (1.03, 2.06),
    "cora inductive": (0.451, 0.901),
    "citeseer": (1.91, 3.81),
    "pubmed": (0.133, 0.266),
    "amazon-computers": (0.862, 1.72),
    "academic-physics": (0.543, 1.09),
}
MOE = {
    "cora": (9.57, 10.9),
    "cora inductive": (4.13, 4.65),
    "citeseer": (17.4, 19.6),
    "pubmed": (1.27, 1.47),
    "amazon-computers": (8.82, 10.7),
    "academic-physics": (4.89, 5.44),
    "ogbn-products": (0.407, 0.461),
}
RBM = {
    "cora": (4, 3, False, 4.14, 6.22),
    "cora inductive": (4, 3, True, 1.82, 2.73),
    "citeseer": (4, 3, False, 7.65, 11.5),
    "pubmed": (7, 2, True, 0.943, 0.545),
    "amazon-computers": (5, 3, False, 4.32, 5.19),
    "academic-physics": (5, 2, True, 2.8, 2.28),
    "ogbn-products": (8, 3, False, 0.353, 0.268),
}


def costs_of(size, read=MappingProxyType({}), **shape):
    D, H, L, C = size
    config = StudentConfig(num_layers=L, hidden=H, **{"moe_layers": "all", **shape})
    kind = student_kind(config.kind)
    return kind.costs(kind.widths(D, C, config), config, **read)


def assert_costs(costs, parameters, operations):
    assert costs.num_parameters / 1e6 == pytest.approx(parameters, rel=0.005)
    assert costs.flops_per_node / 1e6 == pytest.approx(operations, rel=0.01)


@pytest.mark.parametrize("name", MLP)
def test_an_mlp_costs_what_is_published(name):
    assert_costs(costs_of(PUBLISHED_SIZES[name], kind="mlp"), *MLP[name])


@pytest.mark.parametrize("name", MOE)
def test_a_mixture_with_a_learnt_router_costs_what_is_published(name):
    shape = {"kind": "moe", "num_experts": 8, "top_k": 3, "router_top_k": "k_plus_1"}
    assert_costs(costs_of(PUBLISHED_SIZES[name], **shape), *MOE[name])


@pytest.mark.parametrize("name", RBM)
def test_rbm_costs_what_is_published(name):
    E, K, gains, parameters, operations = RBM[name]
    shape = {"num_experts": E, "top_k": K, "input_gains": gains}
    assert_costs(costs_of(PUBLISHED_SIZES[name], **shape), parameters, operations)


SHAPES = [
    {"kind": "mlp"},
    {"kind": "rbm"},
    {"kind": "rbm", "moe_layers": "last"},
    {"kind": "rbm", "input_gains": True, "top_k": 3},
    {"kind": "rbm", "num_experts": (1, 5, 2), "top_k": 4},
    {"kind": "rbm", "metric": "euclidean", "routing_input": "features"},
    {"kind": "rbm", "routing_input": "positions"},
    {"kind": "rbm", "routing_input": "features", "center_queries": True},
    {"kind": "rbm", "routing_input": "projection", "routing_projection": 3, "center_queries": True},
    {"kind": "rbm", "shared_routing": True, "input_gains": True, "routing_input": "positions"},
    {"kind": "moe"},
    {"kind": "moe", "num_experts": (4, 1, 2), "router_top_k": "k_plus_1"},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_formula_counts_the_parameters_that_a_student_has(shape):
    config = StudentConfig(num_layers=3, hidden=8, **{"moe_layers": "all", **shape})
    student = build_student(InputScaling(6, "l2", 0.5), [10, 8, 8, 3], config)
    costs = student_kind(config.kind).costs([10, 8, 8, 3], config, position_width=4)
    assert costs.num_parameters == student.num_parameters()


def test_one_expert_makes_an_mlp_whatever_the_kind():
    size = (10, 8, 3, 4)
    plain = costs_of(size, kind="mlp")
    for kind in ("rbm", "moe"):
        assert costs_of(size, kind=kind, num_experts=1, top_k=1) == plain


def test_an_ensemble_costs_its_members():
    one = costs_of((10, 8, 3, 4), kind="mlp")
    assert costs_of((10, 8, 3, 4), kind="mlp-ensemble", num_members=5) == Costs(
        5 * one.num_parameters, 5 * one.flops_per_node
    )


def test_only_the_experts_that_are_used_are_computed():
    size = (100, 64, 2, 7)
    base = costs_of(size, kind="rbm", num_experts=4)
    more = costs_of(size, kind="rbm", num_experts=8)
    assert more.num_parameters > 1.9 * base.num_parameters
    assert more.flops_per_node < 1.1 * base.flops_per_node


@pytest.mark.parametrize(("routing_input", "num_read"), [("all", 100), ("features", 90), ("positions", 10)])
def test_a_router_is_charged_for_the_columns_that_it_reads(routing_input, num_read):
    E, K, (D, H, L, C) = 4, 2, (100, 8, 2, 3)
    shape = {"num_experts": E, "top_k": K, "routing_input": routing_input}
    costs = costs_of((D, H, L, C), {"position_width": 10}, **shape)
    experts = K * (2 * D * H + 2 * H) + K * (2 * H * C + 2 * C)
    assert costs.flops_per_node == experts + (3 + 2 * E) * (num_read + H)
    assert costs.num_parameters == E * (D * H + H + num_read) + E * (H * C + C + H) + 2


def test_a_router_by_a_projection_is_charged_for_it_and_for_memories_of_its_width():
    size, read = (100, 8, 2, 3), {"position_width": 10}
    shape = {"num_experts": 32, "top_k": 1, "routing_projection": 7}
    whole = costs_of(size, read, routing_input="all", **shape)
    projected = costs_of(size, read, routing_input="projection", **shape)
    assert whole.flops_per_node - projected.flops_per_node == (3 + 2 * 32) * (100 - 7) - 2 * 100 * 7
    assert whole.num_parameters - projected.num_parameters == 32 * (100 - 7) - 100 * 7


def test_a_shared_router_is_charged_once():
    E, K, (D, H, L, C) = 4, 2, (100, 8, 3, 3)
    shape = {"num_experts": E, "top_k": K, "routing_input": "positions", "shared_routing": True}
    costs = costs_of((D, H, L, C), {"position_width": 10}, **shape)
    experts = K * (2 * D * H + 2 * H) + K * (2 * H * H + 2 * H) + K * (2 * H * C + 2 * C)
    assert costs.flops_per_node == experts + (3 + 2 * E) * 10
    assert costs.num_parameters == E * (D * H + H + 10) + E * (H * H + H) + E * (H * C + C) + 3


@pytest.mark.parametrize("shape", [*SHAPES, {"kind": "mlp-ensemble"}], ids=str)
def test_of_sparse_features_those_that_are_not_zero_are_counted_apart(shape):
    read = {"position_width": 10}
    plain = costs_of((1010, 8, 3, 4), read, **shape)
    sparse = costs_of((1010, 8, 3, 4), {**read, "num_nonzero": 19.7}, **shape)
    assert plain.sparse_flops_per_node is None
    assert (sparse.num_parameters, sparse.flops_per_node) == (plain.num_parameters, plain.flops_per_node)
    assert sparse.sparse_flops_per_node == costs_of((30, 8, 3, 4), read, **shape).flops_per_node


def test_an_mlp_matches_what_a_router_of_positions_costs():
    shape = {"kind": "mlp", "match_budget": "flops", "moe_layers": "all", "num_experts": 32, "top_k": 1}
    mlp, hidden = student_kind("mlp"), {}
    for routing_input in ("all", "positions"):
        config = StudentConfig(routing_input=routing_input, **shape)
        hidden[routing_input] = mlp.widths(1010, 4, config, position_width=10)[1]
    assert 128 < hidden["positions"] < hidden["all"] - 20


@pytest.mark.parametrize("by", ["flops", "parameters"])
@pytest.mark.parametrize("size", [*PUBLISHED_SIZES.values(), (5, 3, 2, 2)])
def test_an_mlp_of_equal_cost_is_the_widest_that_costs_no_more(size, by):
    field = {"flops": "flops_per_node", "parameters": "num_parameters"}[by]
    D, H, L, C = size
    config = StudentConfig(kind="mlp", num_layers=L, hidden=H, moe_layers="all", match_budget=by)
    target = getattr(costs_of(size, kind="rbm"), field)
    mlp = student_kind("mlp")
    widths = mlp.widths(D, C, config)
    assert getattr(mlp.costs(widths, config), field) <= target
    wider = [D, *(width + 1 for width in widths[1:-1]), C]
    assert getattr(mlp.costs(wider, config), field) > target
    assert widths[1] > H
