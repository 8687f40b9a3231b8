"""`on_unknown` of /classify: nodes that the model does not know, among others that it does."""

import json
from functools import partial

import pytest
from starlette.testclient import TestClient

from rbm_bundle import ShadowSpec, read_bundle
from rbm_service.api.inference import MAX_BYTES_ON_LOOP
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import RECORDS, STRING_IDS, TINY, repository_of, with_string_ids
from tests.classifying import classify, refused, replace_run, serve
from tests.servers import wait_until

FEATURES = [0.5] * 12
NOTHING = {"label": None, "class_index": None, "confidence": None, "position": None, "unknown": True}
EVERYTHING = {"top_k": 2, "explain": True, "return_probabilities": True, "min_confidence": 0.5}


def in_part(client, **body):
    return classify(client, on_unknown="null", **body)


def unknown(*node_ids):
    return [{"node_id": node_id, **NOTHING} for node_id in node_ids]


def value_of(client):
    """What a metric of the service says, by its name and labels."""
    registry = client.app.app_state.metrics.registry
    return lambda name, **labels: registry.get_sample_value(name, labels)


def test_without_it_a_request_with_an_unknown_node_is_refused(client):
    for options in ({}, {"on_unknown": "error"}):
        problem = refused(client, 404, "unknown_node", json={"node_ids": [105, 7, 100], **options})
        assert problem["detail"].startswith("expected ids that the model knows, got 1 unknown: 7;")
    problem = refused(client, 422, "validation", json={"node_ids": [7], "on_unknown": "skip"})
    assert problem["errors"][0]["loc"] == ["on_unknown"]


@pytest.mark.parametrize("options", [{}, EVERYTHING])
def test_all_other_nodes_are_answered_as_without_the_unknown_ones_to_the_bit(client, options):
    known = classify(client, node_ids=[105, 100, 195], **options)
    found = in_part(client, node_ids=[7, 105, 100, 8, 195, 9], **options)
    assert [found[row] for row in (1, 2, 4)] == known
    assert [found[row] for row in (0, 3, 5)] == unknown(7, 8, 9)
    assert in_part(client, node_ids=[105, 100, 195], **options) == known


def test_an_unknown_node_that_can_be_placed_and_described_is_answered(client):
    ids, neighbors = [7, 8, 100], [None, [100], None]
    described = {"features": [FEATURES] * 2}
    known = classify(client, node_ids=ids[1:], neighbors=neighbors[1:], **described)
    found = in_part(client, node_ids=ids, neighbors=neighbors, features=[FEATURES] * 3)
    assert found == [*unknown(7), *known]
    assert in_part(client, node_ids=ids, neighbors=neighbors)[:2] == unknown(7, 8)


def test_where_all_are_unknown_the_engine_is_not_asked(client):
    replace_run(client.app, None)
    assert in_part(client, node_ids=[7, 8], **EVERYTHING) == unknown(7, 8)


def test_they_are_counted_as_missing_and_as_no_prediction(client):
    in_part(client, node_ids=[7, 100, 8])
    in_part(client, node_ids=[9])

    value = partial(value_of(client), model_name="tiny")
    assert value("rbm_position_lookups_total", result="missing") == 3
    assert value("rbm_position_lookups_total", result="cached") == 1
    labels = ("red", "green", "blue")
    assert sum(value("rbm_prediction_class_total", label=label) for label in labels) == 1
    assert value("rbm_inference_rows_total", model_version="1") == 1
    assert value("rbm_stage_duration_seconds_count", stage="serialize", model_version="1") == 2


def test_a_shadow_is_compared_on_the_nodes_that_have_an_answer(tmp_path):
    repository = repository_of(tmp_path)
    repository.set_shadow("tiny", ShadowSpec(repository.publish(TINY), 1.0))
    with TestClient(create_app(Settings(models_dir=tmp_path, device="cpu"))) as client:
        wait_until(lambda: client.get("/info").json()["shadow"], "a shadow")
        for ids in ([7, 105, 100], [7]):
            in_part(client, node_ids=ids)
        both, value = {"model_name": "tiny", "shadow_version": "2"}, value_of(client)
        agreeing = {**both, "model_version": "1", "outcome": "agree"}
        wait_until(lambda: value("rbm_shadow_rows_total", **agreeing), "a comparison")
        assert value("rbm_shadow_rows_total", **agreeing) == 2
        assert value("rbm_shadow_requests_total", **both, outcome="failed") is None


def test_a_long_batch_is_answered_in_part_too(client):
    ids = [[100, 7, 105][row % 3] for row in range(900)]
    body = {"node_ids": ids, "features": [[0.123456789] * 12] * 900}
    assert len(json.dumps(body)) > MAX_BYTES_ON_LOOP
    found = in_part(client, **body)
    assert [prediction["node_id"] for prediction in found] == ids
    assert [row for row, prediction in enumerate(found) if "unknown" in prediction] == [*range(1, 900, 3)]


def test_ids_of_another_type_are_refused_all_the_same(client, bundle, tmp_path):
    refused(client, 422, "validation", json={"node_ids": ["7"], "on_unknown": "null"})
    with serve(with_string_ids(bundle, tmp_path / "strings"), tmp_path / "models") as strings:
        assert in_part(strings, node_ids=[STRING_IDS[0], "node 7"])[1:] == unknown("node 7")
        refused(strings, 422, "validation", json={"node_ids": [7], "on_unknown": "null"})


def test_a_record_places_no_node_but_describes_one(tmp_path):
    record = {"title": "数据 cell", "year": 2015}
    with serve(read_bundle(RECORDS), tmp_path) as client:
        known = classify(client, node_ids=[3, 999], records=[record, {}], neighbors=[None, [1]])
        found = in_part(
            client, node_ids=[3, 998, 999], records=[record, record, {}], neighbors=[None, None, [1]]
        )
        assert found == [known[0], *unknown(998), known[1]]
        wrong = {"node_ids": [3, 998], "records": [{}, {"titel": "x"}], "on_unknown": "null"}
        assert refused(client, 422, "validation", json=wrong)["errors"][0]["loc"] == ["records", 1, "titel"]
