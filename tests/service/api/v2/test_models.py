"""`GET /v2/…`: which models are there and ready, and what is not offered."""

import pytest
from starlette.testclient import TestClient

from rbm_service.api.v2.models import ABSENT
from rbm_service.app import create_app
from tests.service.api.v2.protocol import BODY, INFER


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/v2/models/tiny/versions/1"])
@pytest.mark.parametrize("suffix", ["", "/ready", "/config", "/stats"])
def test_a_model_answers_by_name_and_by_name_and_version(client, path, suffix):
    assert client.get(path + suffix).status_code == 200
    for wrong in (path.replace("tiny", "other"), "/v2/models/tiny/versions/2", "/v2/models/tiny/versions/01"):
        answer = client.get(wrong + suffix)
        assert answer.status_code == 404
        assert "not in service" in answer.json()["error"] or "no model" in answer.json()["error"]


def test_without_a_model_only_the_server_lives(settings):
    client = TestClient(create_app(settings))  # its lifespan has not begun
    assert client.get("/v2/health/live").json() == {"live": True}
    for path in ("/v2/health/ready", "/v2/models/tiny", "/v2/models/tiny/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {"error": "no model is in service yet"}
    assert client.post(INFER, json=BODY).status_code == 503
    assert client.get("/v2/models/stats").json() == {"model_stats": []}


def test_a_draining_service_is_live_and_not_ready_and_still_answers(client):
    client.app.app_state.models.begin_drain()
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/tiny/ready").status_code == 503
    assert client.post(INFER, json=BODY).status_code == 200


@pytest.mark.parametrize("path", ABSENT)
def test_what_is_not_offered_is_refused_by_name(client, path):
    for method in ("GET", "POST"):
        answer = client.request(method, path.replace("{model}", "tiny").replace("{rest:path}", "region/x"))
        assert answer.status_code == 404
        assert answer.json() == {"error": f"this service does not offer {ABSENT[path]}"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v2/", 404), ("GET", "/v2/x", 404), ("POST", "/v2", 405), ("GET", INFER, 405)],
)
def test_a_wrong_path_or_method_is_told_in_the_words_of_the_protocol(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert ("allow" in answer.headers) == (status == 405)


def test_other_routes_keep_their_form_of_errors(client):
    assert client.get("/v2x").json()["code"] == "not_found"


def test_requests_are_counted_by_template_and_never_by_what_a_caller_made_up(client):
    client.get("/v2/models/made-up")
    client.get("/v2/models/second")
    client.get("/v2/made-up")
    text = client.get("/metrics").text
    assert 'rbm_http_requests_total{code="404",method="GET",route="/v2/models/{model}"} 2.0' in text
    assert "made-up" not in text
