"""Whatever goes wrong in whatever route, the answer has the form that the callers of the route read."""

import asyncio
import json
import sys

import pytest
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.settings import Settings
from rbm_service.web.error_response import error_response
from tests.classifying import lines_of
from tests.connections import InMemoryConnection
from tests.keys import ADMIN_KEY, ADMIN_KEY_LINE

KEY = {"X-API-Key": ADMIN_KEY}
IDS = {"name": "node_ids", "shape": [1], "datatype": "INT64", "data": [100]}
ERRORS = [
    RuntimeError("/secret"),
    RecursionError("/secret"),
    OverflowError("/secret"),
    MemoryError(),
    KeyError(1),
]

BREAKABLE = {
    ("GET", "/readyz"): "rbm_service.serving.registry.ModelRegistry.check_ready",
    ("GET", "/info"): "rbm_service.serving.registry.ModelRegistry.current",
    ("GET", "/openapi.json"): "rbm_service.app.Service.openapi",
    ("POST", "/classify"): "rbm_service.api.classify.write_answer",
    ("POST", "/admin/models/tiny/reload"): "rbm_service.serving.manager.ModelManager.reload",
    ("GET", "/v2/health/ready"): "rbm_service.serving.registry.ModelRegistry.check_ready",
    ("GET", "/v2/models/tiny"): "rbm_service.serving.registry.ModelRegistry.current",
    ("POST", "/v2/models/tiny/infer"): "rbm_service.api.v2.infer.answer_body",
    ("POST", "/v2/repository/index"): "rbm_service.api.v2.repository.parse",
}


@pytest.fixture(scope="module")
def client(models_dir, tmp_path_factory):
    key = tmp_path_factory.mktemp("keys") / "admin"
    key.write_text(ADMIN_KEY_LINE)
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, admin_key_file=key)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def ask(client, method, path, **headers):
    body = {"inputs": [IDS]} if path.startswith("/v2") else {"node_ids": [100]}
    return client.request(method, path, json=body if method == "POST" else None, headers={**KEY, **headers})


def assert_is_backend_error(answer, path):
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert len(answer.headers["x-request-id"]) > 0
    if path.startswith("/v2"):
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"error": "the request could not be computed"}
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["code"], answer.json()["status"]) == ("backend", 500)


@pytest.mark.parametrize("error", [*ERRORS, asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize(("method", "path"), BREAKABLE)
def test_an_error_of_a_route_has_the_form_of_the_route(client, monkeypatch, method, path, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(BREAKABLE[method, path], fail)
    with lines_of(client) as logs:
        assert_is_backend_error(ask(client, method, path), path)
    assert [line["event"] for line in logs] == ["request failed", "request"]
    assert logs[1]["status"] == 500


@pytest.mark.parametrize("path", ["/admin/models/absent/reload", "/v2/models/absent"])
def test_an_error_while_an_error_is_answered_has_the_form_of_the_route(client, monkeypatch, path):
    def fail(*args, **kwargs):
        if not failed:
            failed.append(1)
            raise RuntimeError("/secret")
        return error_response(*args)

    failed = []
    monkeypatch.setattr("rbm_service.web.middleware.error_response", fail)
    assert_is_backend_error(ask(client, "POST" if "admin" in path else "GET", path), path)


@pytest.mark.parametrize("path", ["/classify", "/livez", "/v2/health/live"])
def test_a_request_that_cannot_be_recorded_has_its_answer_and_keeps_its_connection(
    settings, monkeypatch, path
):
    def fail(*args, **kwargs):
        raise RuntimeError

    async def scenario():
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            connection = InMemoryConnection(app.request_middleware)
            content = b'{"node_ids": [100]}'
            method = b"POST" if path == "/classify" else b"GET"
            head = b"%b %b HTTP/1.1\r\nContent-Type: application/json\r\n" % (method, path.encode())
            for _ in range(2):
                connection.receive(head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
                await connection.answered()
            return connection.statuses, connection.transport.closed

    monkeypatch.setattr("rbm_service.web.middleware.log_access", fail)
    assert asyncio.run(scenario()) == ([b"200", b"200"], False)


@pytest.mark.parametrize("timeout", [10**400, 2**63, 10**4000])
def test_a_time_limit_beyond_all_numbers_is_refused(client, timeout):
    body = {"inputs": [IDS], "parameters": {"timeout": timeout}}
    answer = client.post("/v2/models/tiny/infer", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("parameters.timeout: expected less than")


@pytest.mark.parametrize("timeout", [2**63 - 1, 10**18])
def test_a_time_limit_that_is_a_long_time_is_none(client, timeout):
    body = {"inputs": [IDS], "parameters": {"timeout": timeout}}
    assert client.post("/v2/models/tiny/infer", json=body).status_code == 200


HUGE = [10**400, -(10**400), 2**63, 2**64, 10**4299, 10**5000]
NUMBERS = [
    *({"inputs": [{**IDS, "data": [number]}]} for number in HUGE),
    *({"inputs": [{**IDS, "shape": [number]}]} for number in HUGE),
    *({"inputs": [{**IDS, "parameters": {"binary_data_size": number}}]} for number in HUGE),
    *(
        {"inputs": [IDS], "outputs": [{"name": "probabilities", "parameters": {"classification": number}}]}
        for number in HUGE
    ),
    *({"inputs": [{**IDS, "name": "features", "datatype": "FP32", "data": [number]}]} for number in HUGE),
]
FIELDS = [
    "node_ids",
    "top_k",
    "version",
    "timeout_seconds",
    "min_confidence",
    "features",
    "neighbors",
    "positions",
]


def encoded(body):
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(body)
    finally:
        sys.set_int_max_str_digits(4300)


@pytest.mark.parametrize("number", range(len(NUMBERS)))
def test_no_number_of_infer_is_too_large_to_be_refused(client, number):
    content = encoded(NUMBERS[number])
    assert 400 <= client.post("/v2/models/tiny/infer", content=content).status_code < 500


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", range(len(HUGE)))
def test_no_number_of_classify_is_too_large_to_be_refused(client, field, number):
    nested = {"node_ids": [HUGE[number]], "features": [[HUGE[number]]], "neighbors": [[HUGE[number]]]}
    value = {**nested, "positions": [[HUGE[number]]]}.get(field, HUGE[number])
    content = encoded({"node_ids": [100]} | {field: value})
    answer = client.post("/classify", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500


@pytest.mark.parametrize(
    "path",
    [
        *("/info?model=%ff%fe", "/info?model=", "/info?model=a&model=b&x=%00", "/v2/models/%ff/versions/%ff"),
        *(
            "/v2/models/tiny/versions/" + "9" * 5000,
            "/v2/models/tiny/versions/%D9%A3",
            "/%00",
            "/" + "%61" * 9000,
        ),
        *("/v2/models/tiny/versions/-1/infer", "/admin/models/%ff/reload", "/v2/models/" + "x" * 9000),
    ],
)
def test_no_path_and_no_query_is_too_strange_to_be_answered(client, path):
    for method in ("GET", "POST", "HEAD", "OPTIONS", "BREW"):
        assert ask(client, method, path).status_code < 500


@pytest.mark.parametrize(
    "name", ["X-Request-ID", "Content-Length", "Content-Encoding", "Accept-Encoding", "Origin"]
)
@pytest.mark.parametrize("value", [b"\xff" * 20, b"9" * 5000, b"-1", b"", b"gzip;q=nan, *;q=\xff", b"\xb2"])
def test_no_header_is_too_strange_to_be_answered(client, name, value):
    for path in ("/classify", "/v2/models/tiny/infer"):
        assert ask(client, "POST", path, **{name: value}).status_code < 500
