"""What the map of a bundle says of its nodes is what the graphs say of them."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rbm_bundle.manifest_parts import MAX_MAP_NODES
from rbm_training.data.graph import Graph
from rbm_training.export import build_node_table
from rbm_training.export.graphs import build_graph
from rbm_training.export.node_map import build_node_map, map_spec
from rbm_training.export.parity import graph_inputs, open_session
from tests.training.export.students import F, N, P, graph_of, random_weights

IDS = np.random.default_rng(1).permutation(N) + 7
POSITIONS = np.random.default_rng(2).standard_normal((N, P)).astype(np.float32)
LAYERS = {  # by shape of the student: the layer on the map, and its experts, if it compares
    "rbm": ({}, 1, 4),
    "one layer": ({"widths": (3,)}, 0, 4),
    "plain, then mixed": ({"num_experts": (1, 4)}, 1, 4),
    "mixed, then plain": ({"num_experts": (5, 1)}, 0, 5),
    "distances of positions": ({"metric": "euclidean", "routing_input": "positions"}, 1, 4),
    "shared routing": ({"shared_routing": True, "num_experts": 5}, 0, 5),
    "moe": ({"kind": "moe"}, 1, 4),
    "mlp": ({"kind": "mlp"}, 1, None),
    "mlp of three layers": ({"kind": "mlp", "widths": (8, 5, 3)}, 2, None),
    "mlp of one layer": ({"kind": "mlp", "widths": (3,)}, 0, None),
    "mlp-ensemble": ({"kind": "mlp-ensemble", "num_members": 2}, 1, None),
}


@pytest.fixture(params=["dense", "sparse"])
def graph(request):
    dense = graph_of(IDS).dense_features()
    if request.param == "dense":
        return graph_of(IDS, dense)
    return graph_of(IDS, sp.csr_array(np.where(dense > 0.5, dense, 0)))


@pytest.mark.parametrize(("shape", "layer", "num_experts"), LAYERS.values(), ids=LAYERS)
def test_classes_and_experts_are_those_that_the_graph_gives_the_rows_of_the_table(
    graph, shape, layer, num_experts
):
    student = random_weights(**shape)
    found = build_node_map(student, graph, POSITIONS)
    assert found.rows.tolist() == list(range(N))
    in_order = np.argsort(IDS)
    form = "dense" if isinstance(graph.features, np.ndarray) else "sparse"
    inputs = graph_inputs(graph.features[in_order], POSITIONS[in_order])
    session = open_session(build_graph(student, "dense", form))
    probabilities, experts = session.run(["probabilities", "experts"], inputs)
    assert found.classes.tolist() == probabilities.argmax(axis=1).tolist()
    spec = map_spec(student, found)
    assert (spec.layer, spec.num_nodes, spec.has_experts) == (layer, N, num_experts is not None)
    assert found.points.shape == (N, 2)
    assert found.points.std(axis=0).min() > 0
    if num_experts is None:
        assert (found.experts, found.memory) == (None, None)
    else:
        assert found.experts.tolist() == experts[:, layer, 0].tolist()
        assert found.memory.shape == (num_experts, 2)


def test_an_expert_lies_where_the_layers_inputs_that_equal_its_memory_do():
    student = random_weights(widths=(3,), metric="euclidean", features="none", position_norm=None)
    graph = graph_of(IDS)
    rows = np.concatenate([graph.dense_features(), POSITIONS], axis=1)
    (layer,) = student.expert_layers()
    layer.memory.copy_(layer.memory.new_tensor(rows[:4]))
    found = build_node_map(student, graph, POSITIONS)
    places = build_node_table(graph, POSITIONS, cache_features=True).rows_of(IDS[:4].tolist())
    np.testing.assert_allclose(found.points[places], found.memory, atol=1e-5)
    assert found.experts[places].tolist() == [0, 1, 2, 3]


def test_of_a_large_graph_as_many_nodes_as_a_bundle_takes_are_drawn_and_the_same_each_time():
    num_nodes = 2 * MAX_MAP_NODES
    generator = np.random.default_rng(0)
    features = generator.standard_normal((num_nodes, F)).astype(np.float32)
    positions = generator.standard_normal((num_nodes, P)).astype(np.float32)
    labels = np.zeros(num_nodes, np.int64)
    edges = sp.csr_array((num_nodes, num_nodes))
    large = Graph("large", edges, features, labels, np.arange(num_nodes), ("a", "b", "c"))
    student = random_weights()
    found = build_node_map(student, large, positions)
    assert len(found.rows) == MAX_MAP_NODES
    assert (np.diff(found.rows) > 0).all()
    assert found.rows[-1] > 1.9 * MAX_MAP_NODES
    assert build_node_map(student, large, positions).to_bytes() == found.to_bytes()


def test_the_order_in_which_nodes_were_read_changes_nothing():
    student, turned = random_weights(), np.arange(N)[::-1]
    graph = graph_of(IDS)
    other = replace(graph, features=graph.features[turned], node_ids=IDS[turned])
    found, again = (
        build_node_map(student, graph, POSITIONS),
        build_node_map(student, other, POSITIONS[turned]),
    )
    assert again.rows.tolist() == found.rows.tolist()
    assert again.classes.tolist() == found.classes.tolist()
    np.testing.assert_allclose(again.points, found.points, atol=1e-5)
