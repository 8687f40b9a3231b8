import numpy as np
import pytest

from rbm_bundle import read_bundle
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.features import CsrRows
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.preprocessing import encode
from rbm_service.inference.records import MAX_FIELD_LENGTH, read_records
from rbm_service.runtime import record_graph
from rbm_service.runtime.record_graph import RecordGraph
from tests.bundles import RECORDS


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(RECORDS)


@pytest.fixture(scope="module")
def graph(bundle):
    return RecordGraph(bundle, bundle.manifest.records)


def golden(bundle):
    rows = bundle.golden_records().rows
    return [row.record for row in rows], bundle.golden_records().features(32)


def test_records_of_known_nodes_become_their_features(bundle, graph):
    records, features = golden(bundle)
    np.testing.assert_allclose(read_records(records, graph, "dense"), features, atol=1e-6)


def test_a_sparse_model_gets_the_same_numbers_in_its_form(bundle, graph, monkeypatch):
    records, features = golden(bundle)
    monkeypatch.setattr(record_graph, "MAX_FEATURES_AT_ONCE", 100)  # and so in parts
    rows = read_records(records, graph, "sparse")
    assert isinstance(rows, CsrRows)
    np.testing.assert_allclose(rows.read(32).to_dense(), features, atol=1e-6)


def test_a_query_of_records_is_one_of_their_features(bundle, graph):
    records, features = golden(bundle)
    query = NodeQuery(records=records[:2], neighbors=[[0], [1, 2]])
    rows = encode(query, bundle, 1024, graph)
    np.testing.assert_allclose(rows.overrides["features"], features[:2], atol=1e-6)
    assert query.records == records[:2]  # as a shadow still needs them
    assert rows.sources == ["neighbors"] * 2


def refused(graph, *records):
    with pytest.raises(InvalidRequestError) as refusal:
        read_records(records, graph, "dense")
    return refusal.value.detail


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"titel": "x"}, "records[1].titel: unknown field (did you mean title?)"),
        ({"title": ["x"]}, "records[1].title: expected a string, got ['x']"),
        ({"tags": [["x"]]}, "records[1].tags: expected a list of strings, got [['x']]"),
        ({"year": {}}, "records[1].year: expected a finite number within ±1e+15, got {}"),
        (
            {"title": "x" * (MAX_FIELD_LENGTH + 1)},
            "records[1].title: expected at most 65536 characters, got 65537",
        ),
        ({"tags": ["x"] * 40_000}, "records[1].tags: expected at most 65536 characters, got 80000"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_at_its_place(graph, record, said):
    assert refused(graph, {}, record) == said


def test_a_long_field_that_is_not_too_long_is_read(graph):
    read_records([{"title": "x " * (MAX_FIELD_LENGTH // 2)}], graph, "dense")


def test_a_model_without_records_says_so():
    assert refused(None, {}) == "records: this model takes no records, but features"


def test_numbers_that_no_model_can_work_with_are_refused(graph, monkeypatch):
    monkeypatch.setattr("rbm_service.inference.records.MAX_MAGNITUDE", 1e6)
    assert refused(graph, {}, {"year": 1e14}) == (
        "records[1]: a number too far from all that the model was trained on"
    )
