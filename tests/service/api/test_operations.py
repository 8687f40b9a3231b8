import shutil

import pytest
from starlette.testclient import TestClient

from rbm_bundle import ModelRepository, ShadowSpec, read_bundle
from rbm_bundle.bundle import MODEL_CARD_FILE
from rbm_bundle.manifest import MANIFEST_FILE, seal
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import TINY
from tests.classifying import serve
from tests.servers import wait_until


@pytest.fixture
def cold(settings):
    return TestClient(create_app(settings))  # its lifespan has not begun


def test_it_is_alive_with_and_without_a_model(client, cold):
    assert client.get("/livez").json() == {"status": "alive"}
    assert cold.get("/livez").json() == {"status": "alive"}


def test_it_is_ready_once_the_model_is_in_service(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/readyz", "/info"])
def test_without_a_model_it_is_warming(cold, path):
    answer = cold.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["code"] == "warming"


def test_it_says_what_it_serves(client, bundle):
    info = client.get("/info").json()
    assert info["model"] == {"name": "tiny", "version": 1}
    assert info["models"] == [info["model"]]
    assert info["shadow"] is None
    assert info["bundle_id"] == bundle.manifest.bundle_id
    assert info["labels"] == ["red", "green", "blue"]
    assert info["features"] == {
        "num_features": 12,
        "form": "dense",
        "scaling": "l2",
        "cached": "dense",
        "max_nonzeros": None,
    }
    assert info["nodes"]["position_width"] == 4
    assert info["nodes"]["id_kind"] == "integer"
    assert info["architecture"]["num_experts"] == [4, 4]
    assert (info["device"], info["provider"]) == ("cpu", "CPUExecutionProvider")
    assert info["limits"] == {
        "max_batch_rows": 64,
        "max_queued_rows": 8192,
        "max_request_rows": 1024,
        "max_body_bytes": 16 * 2**20,
        "request_timeout_seconds": 10,
    }


def test_it_tells_about_each_of_several_models_and_its_shadow(tmp_path):
    repository = ModelRepository(tmp_path)
    for name in ("one", "other"):
        repository.promote(name, repository.publish(TINY, name))
    repository.publish(TINY, "other")
    repository.set_shadow("other", ShadowSpec(2, 0.5))
    settings = Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4, model="one,other")
    with TestClient(create_app(settings)) as client:
        wait_until(lambda: client.get("/info?model=other").json()["shadow"], "a shadow")
        default, other = (client.get(path).json() for path in ("/info", "/info?model=other"))
        assert [default["model"]["name"], other["model"]["name"]] == ["one", "other"]
        assert default["models"] == other["models"] == [default["model"], other["model"]]
        assert (default["shadow"], other["shadow"]) == (None, {"version": 2, "share": 0.5})
        unknown = client.get("/info?model=third")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_model")


def test_the_model_card_is_that_of_the_bundle(client, bundle):
    answer = client.get("/model-card?model=tiny")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.content == (bundle.path / MODEL_CARD_FILE).read_bytes()
    unknown = client.get("/model-card?model=third")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_model")


def test_a_bundle_without_a_model_card_is_served_and_says_so(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.path, folder)
    (folder / MODEL_CARD_FILE).unlink()
    files = {name: entry for name, entry in bundle.manifest.files.items() if name != MODEL_CARD_FILE}
    (folder / MANIFEST_FILE).write_bytes(seal(bundle.manifest.model_copy(update={"files": files})))
    with serve(read_bundle(folder), tmp_path / "models") as client:
        answer = client.get("/model-card")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_model_card")


def test_metrics_are_prometheus_text(client, bundle):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'rbm_model_ready{model_name="tiny"} 1.0' in answer.text
    (info,) = [line for line in answer.text.splitlines() if line.startswith("rbm_model_info{")]
    assert f'bundle_id="{bundle.manifest.bundle_id[:12]}"' in info
    assert 'model_name="tiny"' in info
    assert 'model_version="1"' in info
    assert 'provider="CPUExecutionProvider"' in info
