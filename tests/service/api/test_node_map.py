from dataclasses import replace

import pytest

from rbm_bundle import write_bundle
from rbm_service.api.node_map import MapResponse
from tests.bundles import draft_of, with_map, with_string_ids
from tests.classifying import serve


@pytest.fixture
def mapped(bundle, tmp_path):
    return with_map(bundle, tmp_path / "mapped")


def map_of(client, query=""):
    answer = client.get(f"/map{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    MapResponse.model_validate_json(answer.content)
    return answer.json()


def test_nodes_and_experts_are_where_the_bundle_puts_them(mapped, tmp_path):
    with serve(mapped, tmp_path / "models") as client:
        found = map_of(client)
        assert map_of(client, "?model=tiny") == found
    assert found == {
        "model": {"name": "tiny", "version": 1},
        "layer": 1,
        "labels": ["red", "green", "blue"],
        "nodes": {
            "node_ids": [100, 115],
            "x": [0.0, 1.0],
            "y": [0.5, 1.5],
            "class_index": [1, 0],
            "expert": [1, 0],
        },
        "memory": {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.5, 1.5, 2.5, 3.5]},
    }


def test_ids_are_strings_where_the_models_are(bundle, tmp_path):
    mapped = with_map(with_string_ids(bundle, tmp_path / "strings"), tmp_path / "mapped")
    with serve(mapped, tmp_path / "models") as client:
        assert map_of(client)["nodes"]["node_ids"] == ["node-100", "node-115"]


def test_without_experts_there_are_neither_experts_nor_memory(mapped, tmp_path):
    draft = draft_of(mapped)
    spec = draft.manifest.map.model_copy(update={"has_experts": False})
    manifest = draft.manifest.model_copy(update={"map": spec})
    plain = replace(draft.node_map, experts=None, memory=None)
    bundle = write_bundle(tmp_path / "plain", replace(draft, manifest=manifest, node_map=plain))
    with serve(bundle, tmp_path / "models") as client:
        found = map_of(client)
    assert (found["nodes"]["expert"], found["memory"]) == (None, None)


def test_a_bundle_of_format_1_has_no_map(client):
    answer = client.get("/map")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_map")
    assert answer.json()["detail"] == "the bundle of tiny 1 has no map"


def test_a_model_that_is_not_in_service_has_no_map(client):
    answer = client.get("/map?model=other")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
