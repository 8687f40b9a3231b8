import pytest
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import TINY, repository_of
from tests.keys import ADMIN_KEY, ADMIN_KEY_LINE
from tests.service.api.v2.protocol import refused

INDEX, LOAD, UNLOAD = (
    "/v2/repository/index",
    "/v2/repository/models/{}/load",
    "/v2/repository/models/{}/unload",
)


@pytest.fixture
def explicit(tmp_path):
    """A service of two models, of which one is in service."""
    repository = repository_of(tmp_path / "models")
    sparse = TINY.with_name("sparse_bundle")
    repository.promote("sparse", repository.publish(sparse))
    (tmp_path / "key").write_text(ADMIN_KEY_LINE)
    return Settings(
        models_dir=tmp_path / "models",
        model="tiny",
        device="cpu",
        max_batch_rows=4,
        model_control="explicit",
        admin_key_file=tmp_path / "key",
    )


@pytest.fixture
def admin(explicit):
    with TestClient(create_app(explicit), headers={"X-API-Key": ADMIN_KEY}) as client:
        yield client


def index(client, **body):
    answer = client.post(INDEX, json=body)
    assert answer.status_code == 200, answer.text
    return {(row["name"], row.get("version"), row["state"]) for row in answer.json()}


def test_the_index_lists_what_is_in_service_and_what_could_be(admin):
    assert index(admin) == {("tiny", "1", "READY"), ("sparse", None, "UNAVAILABLE")}
    assert index(admin, ready=True) == {("tiny", "1", "READY")}
    assert admin.post(INDEX).status_code == 200  # a body may be left out


def test_a_model_is_loaded_answers_and_is_unloaded(admin):
    body = {"inputs": [{"name": "node_ids", "datatype": "INT64", "shape": [1], "data": [0]}]}
    refused(admin, 404, "/v2/models/sparse/infer", json=body)
    assert admin.post(LOAD.format("sparse"), json={}).json() == {}
    assert ("sparse", "1", "READY") in index(admin)
    assert admin.get("/v2/models/sparse/ready").status_code == 200
    assert admin.post("/v2/models/sparse/infer", json=body).status_code == 200
    stats = admin.get("/v2/models/stats").json()["model_stats"]
    assert [(row["name"], row["inference_count"]) for row in stats] == [("tiny", 0), ("sparse", 1)]
    unload = {"parameters": {"unload_dependents": False}}
    assert admin.post(UNLOAD.format("sparse"), json=unload).json() == {}
    assert index(admin, ready=True) == {("tiny", "1", "READY")}
    refused(admin, 404, "/v2/models/sparse/infer", json=body)


def test_a_model_that_is_not_there_can_neither_be_loaded_nor_unloaded(admin):
    assert "holds no model 'other'" in refused(admin, 404, LOAD.format("other"))
    refused(admin, 404, UNLOAD.format("other"))


def test_a_model_that_fails_its_self_test_is_refused_with_the_reason(admin, explicit):
    graph = explicit.models_dir / "sparse" / "1" / "positions.npy"
    graph.write_bytes(graph.read_bytes()[:-1])
    reason = refused(admin, 422, LOAD.format("sparse"))
    assert "positions.npy" in reason
    assert ("sparse", "1", "UNAVAILABLE") in index(admin)
    assert index(admin, ready=True) == {("tiny", "1", "READY")}


@pytest.mark.parametrize("parameters", [{"config": "{}"}, {"file:1/model.onnx": "AAAA"}])
def test_neither_configuration_nor_files_can_be_sent(admin, parameters):
    said = refused(admin, 422, LOAD.format("sparse"), json={"parameters": parameters})
    assert said.startswith(f"parameters.{next(iter(parameters))}: ")
    assert index(admin, ready=True) == {("tiny", "1", "READY")}


@pytest.mark.parametrize("path", [INDEX, LOAD.format("sparse"), UNLOAD.format("tiny")])
def test_without_the_key_nothing_is_told_and_nothing_changes(admin, path):
    refused(admin, 401, path, headers={"X-API-Key": "other"})
    assert index(admin) == {("tiny", "1", "READY"), ("sparse", None, "UNAVAILABLE")}


def test_without_a_key_in_the_settings_there_is_no_such_route(client):
    assert refused(client, 404, INDEX) == "no such route"


def test_models_come_and_go_by_command_only_where_that_is_wanted(explicit):
    polling = explicit.model_copy(update={"model_control": "poll"})
    with TestClient(create_app(polling), headers={"X-API-Key": ADMIN_KEY}) as client:
        assert "model_repository" not in client.get("/v2").json()["extensions"]
        assert index(client, ready=True) == {("tiny", "1", "READY")}
        assert "RBM_MODEL_CONTROL=explicit" in refused(client, 409, LOAD.format("sparse"))
        assert "RBM_MODEL_CONTROL=explicit" in refused(client, 409, UNLOAD.format("tiny"))


def test_a_service_that_takes_commands_says_so(admin):
    assert "model_repository" in admin.get("/v2").json()["extensions"]
