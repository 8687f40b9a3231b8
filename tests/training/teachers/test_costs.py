"""What an answer costs, counted once more, node by node, on a tree in which all have the same degree."""

import pytest

from rbm_training.config import TeacherConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.teachers.costs import teacher_costs
from rbm_training.teachers.neighbourhood import Neighbourhood
from rbm_training.teachers.networks import build_network
from rbm_training.teachers.result import MemberFacts

AROUND = Neighbourhood(num_nodes=10_000, mean_degree=3)  # 1, 4, 13 nodes within 0, 1, 2 hops
F, H, C = 10, 8, 5
MAPPED, SUMMED = 13 * 2 * F * H + 4 * 2 * H * C, 4 * 2 * H * 4 + 1 * 2 * C * 4


def flops(kind, **fields):
    config = TeacherConfig.model_validate({"kind": kind, "hidden": H, **fields})
    return build_network(config, F, C).flops_per_node(AROUND)


def test_a_neighbourhood_ends_with_the_graph():
    assert [AROUND.within(hops) for hops in range(3)] == [1, 4, 13]
    assert AROUND.within(50) == 10_000


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("sage", {}, MAPPED + SUMMED),
        ("gcn", {"num_layers": 1}, 4 * 2 * F * C + 2 * C * 4),
        ("gat", {"heads": 2}, MAPPED + SUMMED + 13 * 4 * H + 4 * 4 * C),
        ("appnp", {"power_iterations": 1}, 4 * 2 * (F * H + H * C) + 2 * C * 4 + 3 * C),
        ("sign", {"hops": 1}, (1 + 4) * 2 * F * 4 + 2 * 4 * 4 + 2 * H * C),
        ("mlp", {}, 2 * (F * H + H * C)),
    ],
)
def test_all_nodes_that_are_read_are_counted(kind, fields, expected):
    assert flops(kind, **fields) == expected


def member(kind, **described):
    return MemberFacts({"kind": kind, **described}, epoch=3, val_accuracy=0.8)


def test_networks_that_answer_together_are_added_up():
    graph = generate_graph(0)
    config = TeacherConfig.model_validate({"kind": "auto", "hidden": H})
    alone = {
        kind: teacher_costs(TeacherConfig(kind=kind, hidden=H), [member(kind)], graph)
        for kind in ("gcn", "mlp")
    }
    both = teacher_costs(config, [member(kind, weight_decay=5e-4) for kind in alone], graph)
    assert both.costs == alone["gcn"].costs + alone["mlp"].costs
    assert both.num_nodes_read == alone["gcn"].num_nodes_read > alone["mlp"].num_nodes_read == 1
    assert alone["mlp"].costs.num_parameters == 32 * H + H + H * 4 + 4


def test_logistic_regression_reads_the_node_alone():
    graph = generate_graph(0)
    config = TeacherConfig.model_validate({"kind": "auto"})
    told = teacher_costs(config, [member("linear", strength=10.0)], graph)
    assert (told.num_nodes_read, told.costs.flops_per_node) == (1, 2 * 32 * 4)
    assert told.mean_degree == graph.adjacency.nnz / graph.num_nodes
