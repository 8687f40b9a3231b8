import pytest
from starlette.testclient import TestClient

from rbm_service.app import create_app


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


def test_metrics_are_prometheus_text(client, bundle):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'rbm_model_ready{model_name="tiny"} 1.0' in answer.text
    (info,) = [line for line in answer.text.splitlines() if line.startswith("rbm_model_info{")]
    assert f'bundle_id="{bundle.manifest.bundle_id[:12]}"' in info
    assert 'model_name="tiny"' in info
    assert 'model_version="1"' in info
    assert 'provider="CPUExecutionProvider"' in info
