from dataclasses import replace

import numpy as np
import onnx
import pytest

from rbm_bundle import BundleError, read_bundle, write_bundle
from rbm_bundle.records import columns_of, encode_columns
from rbm_service.errors import EngineError
from rbm_service.runtime import record_graph
from rbm_service.runtime.engine import Engine
from rbm_service.runtime.record_graph import RecordGraph
from tests.bundles import RECORDS, TINY, draft_of


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(RECORDS)


@pytest.fixture(scope="module")
def graph(bundle):
    return RecordGraph(bundle, bundle.manifest.records)


@pytest.fixture
def with_graph(bundle, tmp_path):
    """The bundle with its graph of records edited."""

    def edited(edit):
        draft = draft_of(bundle)
        model = onnx.load_model_from_string(draft.graphs["records.onnx"])
        edit(model)
        graphs = {**draft.graphs, "records.onnx": model.SerializeToString()}
        return write_bundle(tmp_path / "edited", replace(draft, graphs=graphs))

    return edited


def inputs_of(graph, *records):
    columns = graph.spec.columns
    return encode_columns(columns_of(records, [column.name for column in columns]), columns)


def features_of(graph, *records):
    return np.concatenate(list(graph.features(inputs_of(graph, *records))))


def other_mean(model):
    [subtraction] = [node for node in model.graph.node if node.op_type == "Sub"]
    subtraction.op_type = "Add"


def other_input(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value += 1


def other_output(model):
    model.graph.node[-1].output[0] = model.graph.output[0].name = "scores"


def test_the_golden_records_come_out(bundle, graph):
    graph.self_test(bundle)
    Engine(bundle, "cpu", intra_op_threads=1).self_test(bundle)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (other_mean, r"records\.onnx: .* in the golden records"),
        (other_input, r"records\.onnx: expected numbers float64 .*, got inputs|refuses"),
        (other_output, r"records\.onnx: expected features|refuses"),
    ],
)
def test_a_graph_that_computes_something_else_is_refused(with_graph, edit, reason):
    edited = with_graph(edit)
    with pytest.raises(BundleError, match=reason):
        Engine(edited, "cpu", intra_op_threads=1).self_test(edited)


def test_many_records_and_long_texts_are_computed_in_parts(graph, monkeypatch):
    records = [{"title": "cell graph " * (index % 5)} for index in range(23)]
    whole = features_of(graph, *records)
    inputs = inputs_of(graph, *records)
    monkeypatch.setattr(record_graph, "MAX_WORDS_AT_ONCE", 20)
    assert max(len(part) for part in graph.features(inputs)) < 8
    np.testing.assert_array_equal(np.concatenate(list(graph.features(inputs))), whole)
    monkeypatch.setattr(record_graph, "MAX_FEATURES_AT_ONCE", 1)
    assert [len(part) for part in graph.features(inputs)] == [1] * 23


def test_features_of_another_shape_fail(bundle, graph, monkeypatch):
    monkeypatch.setattr(graph, "_num_features", 7)
    with pytest.raises(EngineError, match=r"expected features of shape \(1, 7\)"):
        features_of(graph, {})


def test_a_bundle_without_records_has_no_such_graph():
    assert Engine(read_bundle(TINY), "cpu", intra_op_threads=1).records is None
