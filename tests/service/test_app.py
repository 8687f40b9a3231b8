import socket
import threading
import urllib.request

import pytest
from starlette.testclient import TestClient

from rbm_bundle import BundleError
from rbm_service.app import create_app
from rbm_service.runtime.engine import EngineError
from rbm_service.settings import Settings


def test_the_openapi_document_describes_classify(client):
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/classify"]["post"]
    schemas = document["components"]["schemas"]

    request = operation["requestBody"]["content"]["application/json"]["schema"]
    assert request == {"$ref": "#/components/schemas/ClassifyRequest"}
    assert set(schemas["ClassifyRequest"]["properties"]) == {
        *("node_ids", "features", "records", "neighbors", "positions", "model", "version"),
        *("top_k", "explain", "return_probabilities", "min_confidence", "on_unknown", "timeout_seconds"),
    }
    assert schemas["ClassifyRequest"]["additionalProperties"] is False
    forms = schemas["ClassifyRequest"]["properties"]["features"]["anyOf"]
    matrix = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    assert forms == [matrix, {"$ref": "#/components/schemas/SparseFeatures"}, {"type": "null"}]
    assert set(schemas["SparseFeatures"]["properties"]) == {"indptr", "indices", "values"}

    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/ClassifyResponse"}
    assert "predictions" in schemas["ClassifyResponse"]["properties"]

    problems = {"400", "404", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert set(operation["responses"]) == {"200", *problems}
    for status in problems:
        content = operation["responses"][status]["content"]
        assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert "code" in schemas["Problem"]["required"]


def test_every_reference_of_the_openapi_document_leads_somewhere(client):
    text = client.get("/openapi.json").text
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(schemas)


def test_metrics_on_a_port_of_their_own_are_nowhere_else_and_end_with_the_service(models_dir, free_port):
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, metrics_port=free_port)
    with TestClient(create_app(settings)) as client:
        assert client.get("/metrics").status_code == 404
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
            assert b'rbm_model_ready{model_name="tiny"} 1.0' in answer.read()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", free_port))


def test_a_service_that_ends_leaves_no_thread(settings):
    with TestClient(create_app(settings)) as client:
        client.post("/classify", json={"node_ids": [100] * 64})
    assert not any(thread.name.startswith("rbm-engine") for thread in threading.enumerate())


def test_a_lifespan_without_a_model_does_not_begin(tmp_path):
    app = create_app(Settings(models_dir=tmp_path, device="cpu"))
    with pytest.raises(BundleError, match="expected a published model"), TestClient(app):
        pass


def test_a_lifespan_without_the_wanted_device_does_not_begin(models_dir, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    app = create_app(Settings(models_dir=models_dir, device="cuda"))
    with pytest.raises(EngineError, match="built without CUDA"), TestClient(app):
        pass
