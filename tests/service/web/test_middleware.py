"""Every request has an id, a line in the log and a place in the counters; what fails is a problem."""

import asyncio

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing, new_key
from rbm_service.web.limits import BodyLimits
from rbm_service.web.middleware import RequestMiddleware
from tests.classifying import lines_of
from tests.service.web.asgi import Call, never


@pytest.mark.parametrize("given", ["abc", "a b~!", "x" * 128])
def test_a_request_id_comes_back(client, given):
    assert client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "caf\xe9", "tab\there"])
def test_a_request_id_that_is_no_short_printable_ascii_is_replaced(client, given):
    headers = {"X-Request-ID": given.encode("latin-1")}
    made_up = client.get("/livez", headers=headers).headers["x-request-id"]
    assert len(made_up) == 32
    assert made_up != given


def test_requests_without_an_id_get_different_ones(client):
    ids = {client.get("/livez").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


def test_every_request_leaves_one_line(client):
    with lines_of(client) as logs:
        client.get("/livez", headers={"X-Request-ID": "abc"})
    (line,) = logs
    assert line["duration_ms"] > 0
    assert {name: line[name] for name in ("event", "request_id", "method", "route", "status")} == {
        "event": "request",
        "request_id": "abc",
        "method": "GET",
        "route": "/livez",
        "status": 200,
    }


def test_unknown_paths_and_methods_do_not_become_labels(client):
    client.get("/etc/passwd")
    client.request("BREW", "/classify")
    value = client.app.app_state.metrics.registry.get_sample_value
    name = "rbm_http_requests_total"
    assert value(name, {"route": "unmatched", "method": "GET", "code": "404"}) == 1
    assert value(name, {"route": "/classify", "method": "other", "code": "405"}) == 1


def test_an_unknown_route_is_a_404_problem(client):
    answer = client.get("/classify/")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_a_wrong_method_is_a_405_problem_that_names_the_right_one(client):
    answer = client.get("/classify")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


def test_an_unexpected_exception_is_a_500_problem_without_its_text(client, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("rbm_service.api.classify.write_answer", fail)
    with lines_of(client) as logs:
        answer = client.post("/classify", json={"node_ids": [100]}, headers={"X-Request-ID": "abc"})
    assert answer.status_code == 500
    assert (answer.json()["code"], answer.json()["request_id"]) == ("backend", "abc")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "abc"
    assert [line["event"] for line in logs] == ["request failed", "request"]
    assert logs[1]["status"] == 500
    value = client.app.app_state.metrics.registry.get_sample_value
    assert value("rbm_inference_failures_total", {"reason": "other"}) == 1


def test_an_answer_is_counted_under_its_route_method_and_status(metrics):
    value, route = metrics.registry.get_sample_value, {"route": "/classify"}
    statuses, in_progress, counts_before = iter([200, 200, 429]), [], []

    async def app(scope, receive, send):
        in_progress.append(value("rbm_http_requests_in_progress", route))
        counts_before.append(value("rbm_http_request_duration_seconds_count", route))
        await asyncio.sleep(0.004)
        await Response(status_code=next(statuses))(scope, receive, send)

    layer = RequestMiddleware(app, metrics, KeyRing(), ["/classify"], ["/classify"], BodyLimits(200, 0.1))
    for _ in range(3):
        Call(layer, never).run()
    labels = route | {"method": "POST"}
    assert value("rbm_http_requests_total", labels | {"code": "200"}) == 2
    assert value("rbm_http_requests_total", labels | {"code": "429"}) == 1
    assert (in_progress, value("rbm_http_requests_in_progress", route)) == ([1, 1, 1], 0)
    assert counts_before == [0, 1, 2]  # there from the start
    assert value("rbm_http_request_duration_seconds_count", route) == 3
    assert value("rbm_http_request_duration_seconds_bucket", route | {"le": "0.003"}) == 0
    assert value("rbm_http_request_duration_seconds_bucket", route | {"le": "+Inf"}) == 3


def test_a_path_that_is_open_to_everyone_asks_for_no_key(client, models_dir, tmp_path, monkeypatch):
    keys, (_, line) = tmp_path / "keys", new_key("web")
    keys.write_text(line)
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, api_keys_file=keys)
    asked, authorize = [], KeyRing.authorize

    def watch(ring, headers, path):
        asked.append(path)
        return authorize(ring, headers, path)

    monkeypatch.setattr(KeyRing, "authorize", watch)
    assert client.post("/classify", json={"node_ids": [100]}).status_code == 200
    assert client.get("/admin/nothing").status_code == 404
    with TestClient(create_app(settings)) as guarded:
        assert guarded.get("/livez").status_code == 200
        assert guarded.post("/classify", json={"node_ids": [100]}).status_code == 401
    assert asked == ["/admin/nothing", "/classify"]
