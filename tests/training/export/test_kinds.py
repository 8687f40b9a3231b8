"""Every kind of student, in both graphs and for both forms of features."""

import numpy as np
import onnx
import pytest
import torch

from rbm_bundle.golden import measure_parity, relative_row_error
from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_training.export.graphs import build_graph, tensor_specs
from rbm_training.export.parity import ATOL, CHECKED_BATCHES, ROUTING_MARGIN, RTOL, run_session
from tests.training.export.students import FORMS, F, P, random_rows, random_weights, rows_of, sessions_of

KINDS = {
    "mlp": {"kind": "mlp"},
    "mlp of one layer": {"kind": "mlp", "widths": (3,)},
    "mlp-ensemble": {"kind": "mlp-ensemble", "widths": (8, 5, 3), "num_members": 3},
    "plain, then mixed": {"num_experts": (1, 4)},
    "mixed, then plain": {"num_experts": (4, 1), "input_gains": True},
    "layers of 3, 1 and 2 experts": {"num_experts": (3, 1, 2), "top_k": 3, "widths": (8, 5, 3)},
    "sharp cosines": {"routing_temperature": 0.125},
    "distances": {"metric": "euclidean"},
    "sharp distances": {"metric": "euclidean", "routing_temperature": 0.25, "num_experts": (5, 3)},
    "cosines of features": {"routing_input": "features"},
    "distances of features": {"routing_input": "features", "metric": "euclidean"},
    "cosines of positions": {"routing_input": "positions"},
    "distances of positions": {"routing_input": "positions", "metric": "euclidean"},
    "centred cosines": {"center_queries": True},
    "sharp centred cosines of features": {
        "center_queries": True,
        "routing_input": "features",
        "routing_temperature": 0.125,
    },
    "centred cosines of positions": {"center_queries": True, "routing_input": "positions"},
    "cosines of a projection": {"routing_input": "projection", "routing_projection": 5},
    "centred cosines of a projection": {"routing_input": "projection", "center_queries": True},
    "sharp distances of a projection": {
        "routing_input": "projection",
        "metric": "euclidean",
        "routing_temperature": 0.25,
    },
    "shared routing": {"shared_routing": True, "widths": (8, 5, 3)},
    "shared routing by positions, one of 6": {
        "shared_routing": True,
        "routing_input": "positions",
        "num_experts": 6,
        "top_k": 1,
        "input_gains": True,
    },
    "shared distances": {"shared_routing": True, "metric": "euclidean", "top_k": 3},
    "moe": {"kind": "moe"},
    "moe, one expert more": {"kind": "moe", "router_top_k": "k_plus_1"},
    "moe of one layer": {"kind": "moe", "widths": (3,)},
    "moe of 1, 2 and 5 experts": {
        "kind": "moe",
        "router_top_k": "k_plus_1",
        "num_experts": (1, 2, 5),
        "widths": (8, 5, 3),
    },
}
CASES = [
    pytest.param(shape, width, id=f"{name}, positions {width}")
    for name, shape in KINDS.items()
    for width in ((4,) if shape.get("routing_input") == "positions" else (4, 0))
]


@pytest.fixture(params=["dense", "sparse"])
def features(request):
    """The form features have."""
    return request.param


@pytest.mark.parametrize(("shape", "position_width"), CASES)
def test_both_graphs_agree_with_the_float64_student_at_every_batch_size(shape, position_width, features):
    student = random_weights(position_width=position_width, hidden=8, **shape)
    rows = random_rows(student, max(CHECKED_BATCHES), features)
    for session in sessions_of(student, features).values():
        for num_rows in CHECKED_BATCHES:
            batch = rows.take(np.arange(num_rows))
            outputs = run_session(session, batch)
            parity = measure_parity(batch, outputs, ROUTING_MARGIN, rows.logit_scale)
            assert parity.num_routed_otherwise == 0
            assert parity.num_exempt <= 0.01 * num_rows
            assert parity.worst_logits_error <= RTOL
            assert parity.worst_probability_error <= ATOL
            clear = batch.routing_gap >= ROUTING_MARGIN
            for name in ("weights", "similarity"):
                wanted = getattr(batch, name)[clear]
                np.testing.assert_allclose(outputs[name][clear], wanted, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_the_outputs_have_the_shapes_that_are_announced(shape, features):
    student = random_weights(**shape)
    _, specs = tensor_specs(student, features)
    rows = random_rows(student, 5, features)
    for session in sessions_of(student, features).values():
        found = {name: (array.dtype.name, array.shape) for name, array in run_session(session, rows).items()}
        assert found == {spec.name: (spec.dtype, (5, *spec.shape[1:])) for spec in specs}


def test_an_mlp_sends_every_row_to_its_only_expert(features):
    student = random_weights(kind="mlp")
    rows = random_rows(student, 3, features)
    for session in sessions_of(student, features).values():
        outputs = run_session(session, rows)
        for name, value in {"experts": 0, "weights": 1, "similarity": 0}.items():
            assert outputs[name].tolist() == [[[value]] * 2] * 3
            assert getattr(rows, name).tolist() == [[[value]] * 2] * 3


def test_layers_of_fewer_experts_leave_places_empty(features):
    student = random_weights((8, 5, 3), num_experts=(1, 2, 4), top_k=3)
    rows = random_rows(student, 7, features)
    outputs = [run_session(session, rows) for session in sessions_of(student, features).values()]
    for found in (*outputs, vars_of(rows)):
        assert (found["experts"][:, 0] == [0, NO_EXPERT, NO_EXPERT]).all()
        assert (found["weights"][:, 0] == [1, 0, 0]).all()
        assert (np.sort(found["experts"][:, 1]) == [NO_EXPERT, 0, 1]).all()
        assert (found["experts"][:, 2] >= 0).all()
        np.testing.assert_allclose(found["weights"].sum(axis=2), 1, atol=1e-6)
        empty = found["experts"] == NO_EXPERT
        assert not found["weights"][empty].any()
        assert not found["similarity"][empty].any()


def vars_of(rows):
    return {name: getattr(rows, name) for name in ("experts", "weights", "similarity")}


def test_the_shares_of_one_expert_more_are_those_among_all(features):
    student = random_weights((3,), kind="moe", router_top_k="k_plus_1", num_experts=6, top_k=2)
    rows = random_rows(student, 20, features)
    assert rows.experts.shape == (20, 1, 3)
    assert rows.weights.sum(axis=2).max() < 1
    for session in sessions_of(student, features).values():
        np.testing.assert_allclose(run_session(session, rows)["weights"], rows.weights, atol=1e-6)


def test_memories_far_from_the_origin_and_near_each_other_keep_parity(features):
    student = random_weights((3,), features="none", position_norm=None, metric="euclidean")
    layer = student.memory_layers()[0]
    layer.memory.copy_(20 + 0.3 * torch.randn_like(layer.memory))
    generator = np.random.default_rng(0)
    rows = rows_of(
        student, 20 + generator.standard_normal((500, F)), 20 + generator.standard_normal((500, P)), features
    )
    assert len(np.unique(rows.experts)) == 4
    for session in sessions_of(student, features).values():
        parity = measure_parity(rows, run_session(session, rows), ROUTING_MARGIN)
        assert parity.num_routed_otherwise == 0
        assert parity.worst_logits_error <= RTOL


@pytest.mark.parametrize("routing_input", ["all", "features", "positions"])
def test_rows_far_from_the_origin_are_centred_without_a_loss_of_parity(features, routing_input):
    shape = {"features": "none", "position_norm": None, "center_queries": True}
    student = random_weights((3,), routing_input=routing_input, **shape)
    layer, away = student.memory_layers()[0], 10.0 if features == "dense" else 3.0
    layer.center.copy_(layer.read(torch.full((1, F + P), away))[0])
    generator = np.random.default_rng(0)
    near = [away + generator.standard_normal((500, width)) for width in (F, P)]
    rows = rows_of(student, *near, features)
    assert len(np.unique(rows.experts)) == 4
    for session in sessions_of(student, features).values():
        parity = measure_parity(rows, run_session(session, rows), ROUTING_MARGIN)
        assert parity.num_routed_otherwise == 0
        assert parity.worst_logits_error <= RTOL


def test_rows_as_far_from_all_memories_go_to_the_first_ones(features):
    student = random_weights((3,), features="none", position_norm=None, metric="euclidean")
    layer = student.memory_layers()[0]
    corners = torch.zeros(4, layer.memory.shape[1])
    corners[:, :2] = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    layer.memory.copy_(corners)
    rows = rows_of(student, [[0] * F, [0, 0, 5, 0, 0, 0], [1, 1, 0, 0, 0, 0]], np.zeros((3, 4)), features)
    wanted = [[0, 1], [0, 1], [0, 2]]
    assert rows.experts[:, 0].tolist() == wanted
    for session in sessions_of(student, features).values():
        assert run_session(session, rows)["experts"][:, 0].tolist() == wanted


def test_rows_that_a_learnt_router_cannot_tell_apart_go_to_the_first_experts(features):
    student = random_weights((3,), kind="moe", features="none", position_norm=None)
    layer = student.expert_layers()[0]
    layer.projection_bias.data.zero_()
    rows = rows_of(student, np.zeros((2, F)), np.zeros((2, 4)), features)
    assert np.isinf(rows.routing_gap).all()
    for found in (vars_of(rows), *(run_session(s, rows) for s in sessions_of(student, features).values())):
        assert found["experts"][:, 0].tolist() == [[0, 1]] * 2
        assert found["weights"].tolist() == [[[0.5, 0.5]]] * 2


def test_what_routing_does_not_read_does_not_change_it(features):
    for part in ("features", "positions"):
        student = random_weights((3,), num_experts=8, routing_input=part)
        rows = random_rows(student, 9, features)
        other = random_rows(student, 9, features, seed=1)
        kept = {name for name in rows.inputs if name.startswith(part.removesuffix("s"))}
        for session in sessions_of(student, features).values():
            before = run_session(session, rows)
            mixed = {name: (rows if name in kept else other).inputs[name] for name in rows.inputs}
            after = session.run(["similarity", "logits"], mixed)
            np.testing.assert_array_equal(after[0], before["similarity"])
            assert relative_row_error(after[1], before["logits"], rows.logit_scale).min() > 0.01


@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_the_dense_graph_has_no_shape_that_depends_on_data(shape, features):
    model = onnx.load_from_string(build_graph(random_weights(**shape), "dense", features))
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"Shape", "NonZero", "If", "Loop", "Scan", "Range", "Compress", "Unique", "Where"}
    constants = {tensor.name for tensor in model.graph.initializer}
    assert all(node.input[1] in constants for node in model.graph.node if node.op_type == "Split")


def test_with_shared_routing_the_outputs_tell_of_the_first_layer_alone_and_pairs_are_sorted_once(features):
    student = random_weights((8, 5, 3), shared_routing=True)
    rows = random_rows(student, 9, features)
    for form, session in sessions_of(student, features).items():
        experts = run_session(session, rows)["experts"]
        assert experts.shape == rows.experts.shape == (9, 1, 2)
        model = onnx.load_from_string(build_graph(student, form, features))
        operators = [node.op_type for node in model.graph.node]
        assert operators.count("TopK") == 1
        assert operators.count("OneHot") == (form == "grouped")


@pytest.mark.parametrize("form", FORMS)
def test_an_mlp_is_one_product_a_layer(form):
    model = onnx.load_from_string(build_graph(random_weights(kind="mlp-ensemble"), form, "dense"))
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Gemm") == 2
    assert not {"TopK", "Split", "ScatterElements"} & set(operators)
