"""How long a body may be, how long it may take, and who has to send one at all."""

import asyncio
import json

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from rbm_service.app import create_app
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing, new_key
from rbm_service.web.limits import BodyLimits
from rbm_service.web.middleware import RequestMiddleware
from tests.classifying import body_of
from tests.service.web.asgi import Call, never

JSON = {"Content-Type": "application/json"}
LIMIT = 200


@pytest.fixture
def limited(models_dir):
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, max_body_bytes=LIMIT)
    with TestClient(create_app(settings)) as client:
        yield client


def chunks_of(body):
    for start in range(0, len(body), 50):
        yield body[start : start + 50]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("num_bytes", "status"), [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413)])
def test_a_body_is_read_up_to_the_limit_and_not_one_byte_further(limited, chunked, num_bytes, status):
    body = body_of(num_bytes)
    answer = limited.post("/classify", content=chunks_of(body) if chunked else body, headers=JSON)
    assert ("content-length" in answer.request.headers) is not chunked
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["code"] == "payload_too_large"
        assert answer.headers["content-type"] == "application/problem+json"
        value = limited.app.app_state.metrics.registry.get_sample_value
        assert value("rbm_inference_failures_total", {"reason": "too_large"}) == 1
        assert value(
            "rbm_http_requests_total", {"route": "/classify", "method": "POST", "code": "413"}
        ) == 1  # fmt: skip


def test_a_caller_who_hangs_up_is_counted_and_gets_no_answer(client):
    async def hang_up():
        return {"type": "http.disconnect"}

    assert Call(client.app, hang_up).run().sent == []
    value = client.app.app_state.metrics.registry.get_sample_value
    assert value("rbm_inference_failures_total", {"reason": "canceled"}) == 1
    assert value("rbm_http_requests_total", {"route": "/classify", "method": "POST", "code": "499"}) == 1


def test_a_body_that_does_not_come_in_time_is_a_408_and_the_end_of_its_connection(models_dir):
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, body_timeout_seconds=0.05)
    first = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def stall():
        return next(first, None) or await never()

    with TestClient(create_app(settings)) as client:
        call = Call(client.app, stall).run()
    assert call.status == 408
    assert json.loads(call.sent[1]["body"])["code"] == "request_timeout"
    assert call.headers["connection"] == "close"
    value = client.app.app_state.metrics.registry.get_sample_value
    assert value("rbm_inference_failures_total", {"reason": "canceled"}) == 1
    assert value("rbm_http_requests_total", {"route": "/classify", "method": "POST", "code": "408"}) == 1


def test_bytes_that_trickle_in_gain_no_time(models_dir):
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, body_timeout_seconds=0.2)

    async def trickle():
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with TestClient(create_app(settings)) as client:
        assert Call(client.app, trickle).run().status == 408


def test_once_the_body_is_there_a_caller_may_wait_as_long_as_it_likes(metrics):
    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    messages = iter([{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}])

    async def hang_up_late():
        await asyncio.sleep(0 if call.num_received == 1 else 0.2)
        return next(messages)

    layer = RequestMiddleware(app, metrics, KeyRing(), ["/classify"], ["/classify"], BodyLimits(LIMIT, 0.1))
    call = Call(layer, hang_up_late)
    with capture_logs() as logs:
        call.run()
    assert [line["event"] for line in logs] == ["request"]


def test_neither_a_key_that_is_missing_nor_an_announced_length_lets_the_body_be_read(models_dir, tmp_path):
    keys, (_, line) = tmp_path / "keys", new_key("web")
    keys.write_text(line)
    limits = {"models_dir": models_dir, "device": "cpu", "max_batch_rows": 4, "max_body_bytes": LIMIT}
    with TestClient(create_app(Settings(**limits, api_keys_file=keys))) as guarded:
        call = Call(guarded.app, never).run()
    assert (call.status, call.num_received) == (401, 0)
    with TestClient(create_app(Settings(**limits))) as limited:
        call = Call(limited.app, never, **{"content-length": str(LIMIT + 1)}).run()
    assert (call.status, call.num_received) == (413, 0)
