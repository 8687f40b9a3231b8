import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxscript import opset18 as op

from rbm_bundle.golden import measure_parity, relative_row_error
from rbm_training.export.graphs import build_graph, tensor_specs
from rbm_training.export.parity import ATOL, CHECKED_BATCHES, ROUTING_MARGIN, RTOL, open_session, run_session
from rbm_training.students.student import Student
from tests.training.export.students import (
    FORMS,
    F,
    P,
    random_rows,
    random_weights,
    rows_of,
    sessions_of,
)


@pytest.fixture(params=["dense", "sparse"])
def kind(request):
    """The form features have."""
    return request.param


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("scaling", "kind"),
    [("none", "dense"), ("l2", "dense"), ("standardised", "dense"), ("none", "sparse"), ("l2", "sparse")],
)
@pytest.mark.parametrize("position_norm", [None, 0.5])
def test_both_graphs_agree_with_the_float64_student_at_every_batch_size(form, scaling, kind, position_norm):
    student = random_weights(
        (16, 12, 3), num_experts=8, features=scaling, position_norm=position_norm, input_gains=True
    )
    session = open_session(build_graph(student, form, kind))
    rows = random_rows(student, max(CHECKED_BATCHES), kind)
    for num_rows in CHECKED_BATCHES:
        batch = rows.take(np.arange(num_rows))
        parity = measure_parity(batch, run_session(session, batch), ROUTING_MARGIN, rows.logit_scale)
        assert parity.num_routed_otherwise == 0
        assert parity.num_exempt <= 0.01 * num_rows
        assert parity.worst_logits_error <= RTOL
        assert parity.worst_probability_error <= ATOL


@pytest.mark.parametrize(("num_experts", "top_k"), [(1, 1), (2, 1), (3, 3), (5, 4), (16, 2)])
def test_any_number_of_experts_can_be_exported(kind, num_experts, top_k):
    student = random_weights((9, 3), num_experts=num_experts, top_k=top_k)
    rows = random_rows(student, 50, kind)
    for session in sessions_of(student, kind).values():
        parity = measure_parity(rows, run_session(session, rows), ROUTING_MARGIN)
        assert (parity.num_routed_otherwise, parity.worst_logits_error <= RTOL) == (0, True)


def test_weights_and_similarity_are_those_of_the_student(kind):
    student = random_weights()
    rows = random_rows(student, 40, kind)
    for session in sessions_of(student, kind).values():
        outputs = run_session(session, rows)
        clear = rows.routing_gap > ROUTING_MARGIN
        np.testing.assert_allclose(outputs["weights"][clear], rows.weights[clear], atol=1e-6)
        np.testing.assert_allclose(outputs["similarity"][clear], rows.similarity[clear], atol=1e-6)


def test_ties_go_to_the_lowest_index_in_torch_and_in_both_graphs(kind):
    student = random_weights((3,), num_experts=6, features="none", position_norm=None)
    layer = student.memory_layers()[0]
    layer.memory.copy_(torch.eye(6, F + P))
    features = np.array([[0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 2, 2], [0, 0, 1, 0, 0, 1]])
    rows = rows_of(student, features, np.zeros((4, P)), kind)
    wanted = [[1, 2], [0, 1], [4, 5], [2, 5]]
    assert rows.experts[:, 0].tolist() == wanted
    for session in sessions_of(student, kind).values():
        outputs = run_session(session, rows)
        assert outputs["experts"][:, 0].tolist() == wanted
        assert relative_row_error(outputs["logits"], rows.logits, 0).max() <= RTOL


def test_all_zero_rows_are_defined_and_alike(kind):
    student = random_weights()
    rows = rows_of(student, np.zeros((3, F)), np.zeros((3, P)), kind)
    assert rows.experts[:, 0].tolist() == [[0, 1]] * 3
    for session in sessions_of(student, kind).values():
        outputs = run_session(session, rows)
        assert outputs["experts"][:, 0].tolist() == [[0, 1]] * 3
        assert np.abs(outputs["similarity"][:, 0]).max() == 0
        assert relative_row_error(outputs["logits"], rows.logits, 0).max() <= RTOL


@pytest.mark.parametrize("routing_input", ["all", "features", "positions"])
@pytest.mark.parametrize("length", [0, 1e-30, 1e-19, 1e-13, 1e-12, 1e-9])
def test_rows_of_next_to_no_length_are_scaled_as_by_the_student(kind, length, routing_input):
    student = random_weights(num_experts=8, routing_input=routing_input)
    rng = np.random.default_rng(0)
    features, positions = rows_of_length_one(rng, (9, F)), rows_of_length_one(rng, (9, P))
    features[:6] *= length
    positions[3:] *= length
    rows = rows_of(student, features, positions, kind)
    for session in sessions_of(student, kind).values():
        outputs = run_session(session, rows)
        assert measure_parity(rows, outputs, ROUTING_MARGIN).num_routed_otherwise == 0
        np.testing.assert_allclose(outputs["logits"], rows.logits, rtol=0, atol=1e-5)
        np.testing.assert_allclose(outputs["similarity"], rows.similarity, rtol=0, atol=1e-5)


def rows_of_length_one(rng, shape):
    rows = rng.standard_normal(shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_hidden_layer_that_relu_silences_is_defined_and_alike(kind):
    student = random_weights()
    student.expert_layers()[0].bias.data.fill_(-1e3)
    rows = random_rows(student, 5, kind)
    assert rows.experts[:, 1].tolist() == [[0, 1]] * 5
    for session in sessions_of(student, kind).values():
        outputs = run_session(session, rows)
        assert outputs["experts"][:, 1].tolist() == [[0, 1]] * 5
        assert relative_row_error(outputs["logits"], rows.logits, 0).max() <= RTOL


def test_a_row_does_not_depend_on_its_batch_mates(kind):
    student = random_weights((16, 3), num_experts=8)
    rows = random_rows(student, 64, kind)
    for session in sessions_of(student, kind).values():
        together = run_session(session, rows)["probabilities"]
        for index in (0, 17, 63):
            alone = run_session(session, rows.take(np.array([index])))["probabilities"]
            np.testing.assert_allclose(alone[0], together[index], atol=1e-6)


def test_the_number_of_threads_changes_no_bit(kind):
    student = random_weights((64, 3), num_experts=8, top_k=4)
    rows = random_rows(student, 2000, kind)
    for form in FORMS:
        graph = build_graph(student, form, kind)
        alone = run_session(open_session(graph), rows)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 4
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for _ in range(20):
            for name, values in run_session(session, rows).items():
                np.testing.assert_array_equal(values, alone[name])


def test_a_student_without_positions_has_no_such_input(kind):
    student = random_weights(position_width=0)
    inputs, _ = tensor_specs(student, kind)
    names = [spec.name for spec in inputs]
    assert names == (["features"] if kind == "dense" else ["feature_ids", "feature_values"])
    rows = rows_of(student, np.random.default_rng(0).standard_normal((9, F)), np.zeros((9, 0)), kind)
    for session in sessions_of(student, kind).values():
        assert [item.name for item in session.get_inputs()] == names
        assert (
            relative_row_error(run_session(session, rows)["logits"], rows.logits, rows.logit_scale).max()
            <= RTOL
        )


def test_a_sparse_graph_takes_rows_padded_by_more_than_they_need():
    student = random_weights()
    rows = random_rows(student, 9, "sparse")
    wider = {
        **rows.inputs,
        "feature_ids": np.pad(rows.inputs["feature_ids"], ((0, 0), (0, 5)), constant_values=F),
        "feature_values": np.pad(rows.inputs["feature_values"], ((0, 0), (0, 5))),
    }
    for session in sessions_of(student, "sparse").values():
        logits = session.run(["logits"], wider)[0]
        assert relative_row_error(logits, rows.logits, rows.logit_scale).max() <= RTOL


def test_the_dense_graph_has_no_shape_that_depends_on_data(kind):
    model = onnx.load_from_string(build_graph(random_weights(), "dense", kind))
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"Shape", "NonZero", "If", "Loop", "Scan", "Range", "Compress", "Unique", "Where"}
    constants = {tensor.name for tensor in model.graph.initializer}
    splits = [node for node in model.graph.node if node.op_type == "Split"]
    assert splits
    assert all(node.input[1] in constants for node in splits)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_a_lone_row_waits_for_few_operators(top_k):
    student = random_weights(num_experts=8, top_k=top_k)
    model = onnx.load_from_string(build_graph(student, "grouped", "dense"))
    assert len(model.graph.node) <= 83  # sixteen of them the experts' own


def test_the_graphs_are_self_contained_and_use_standard_operators_only(kind):
    for form in FORMS:
        model = onnx.load_from_string(build_graph(random_weights(), form, kind))
        assert {opset.domain for opset in model.opset_import} == {""}
        assert not any(tensor.external_data for tensor in model.graph.initializer)


class Logits(torch.nn.Module):
    """The student's logits alone, as torch's own exporter wants them."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, features: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self.student(features, positions).logits


def stable_sort(values, stable=True, dim=-1, descending=False):
    """torch's exporter knows no stable sort; TopK over all is one, since ties go to the lower index."""
    size = op.Reshape(op.Gather(op.Shape(values), op.Constant(value_int=1)), op.Constant(value_ints=[1]))
    return op.TopK(values, size, axis=1, largest=1, sorted=1)


def test_torchs_own_export_agrees_with_the_hand_built_graphs():
    student = random_weights((16, 3), num_experts=8)
    example = (torch.randn(5, F), torch.randn(5, P))
    program = torch.onnx.export(
        Logits(student).eval(),
        example,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC}, {0: torch.export.Dim.DYNAMIC}),
        input_names=["features", "positions"],
        output_names=["logits"],
        verbose=False,
        custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
    )
    independent = open_session(program.model_proto.SerializeToString())
    rows = random_rows(student, 33)
    independent_logits = independent.run(["logits"], rows.inputs)[0]
    clear = rows.routing_gap > ROUTING_MARGIN
    for session in sessions_of(student).values():
        logits = run_session(session, rows)["logits"]
        assert relative_row_error(logits, independent_logits, rows.logit_scale)[clear].max() <= 2 * RTOL
