"""What /classify refuses, and with which words."""

import asyncio

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from rbm_service.app import create_app
from tests.classifying import asking, refused, replace_run

FEATURES = [0.5] * 12


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"node_ids": [1]} x', b"[" * 1000])
def test_a_body_that_is_no_json_is_400(client, content):
    refused(client, 400, "invalid_json", content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"node_ids": [100], "tok_k": 2}, ["tok_k"]),
        ({"node_ids": [True]}, ["node_ids", 0]),
        ({"node_ids": [1.5]}, ["node_ids", 0]),
        ({"node_ids": 100}, ["node_ids"]),
        ({"features": [["0.5"] * 12]}, ["features", 0, 0]),
        ({"features": [[True] * 12]}, ["features", 0, 0]),
        ({"positions": [[1, 2, None, 4]]}, ["positions", 0, 2]),
        ({"node_ids": [100], "top_k": 0}, ["top_k"]),
        ({"node_ids": [100], "top_k": 4}, ["top_k"]),
        ({"node_ids": [100], "top_k": 1.0}, ["top_k"]),
        ({"node_ids": [100], "explain": 1}, ["explain"]),
        ({"node_ids": [100], "model": 1}, ["model"]),
        ({"node_ids": [100], "version": "1"}, ["version"]),
        ({"node_ids": [100], "version": 0}, ["version"]),
        ({"node_ids": [100], "min_confidence": 1.5}, ["min_confidence"]),
        ({"node_ids": [100], "timeout_seconds": 0}, ["timeout_seconds"]),
        ({"node_ids": [100], "timeout_seconds": "1"}, ["timeout_seconds"]),
        ({"node_ids": ["a"]}, ["node_ids", 0]),
        ({"features": [[0.5]], "node_ids": [100]}, ["features", 0]),
        ({"features": 1}, ["features"]),
        ({"features": [1]}, ["features", 0]),
        ({"features": {"indices": []}}, ["features", "indptr"]),
        ({"features": {"indptr": [], "indices": []}}, ["features", "indptr"]),
        ({"features": {"indptr": [0, 1], "indices": [0], "data": [1]}}, ["features", "data"]),
        ({"features": {"indptr": [0, 1], "indices": [0.5]}}, ["features", "indices", 0]),
        ({"features": {"indptr": [0, 2], "indices": [0, -1]}}, ["features", "indices", 1]),
        ({"features": {"indptr": [0, 1], "indices": [2**70]}}, ["features", "indices", 0]),
        ({"features": {"indptr": [0, 1], "indices": [0], "values": [None]}}, ["features", "values", 0]),
        ({"node_ids": [100], "features": {"indptr": [0, 1], "indices": [12]}}, ["features", "indices", 0]),
        ({"node_ids": [100], "features": {"indptr": [0, 2], "indices": [0]}}, ["features", "indptr", 1]),
    ],
)
def test_a_body_that_does_not_fit_is_422_and_the_place_is_named(client, body, place):
    problem = refused(client, 422, "validation", json=body)
    assert problem["errors"][0]["loc"] == place


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"node_ids": [None]}, "node_ids[0]: expected an integer or a string, got null"),
        ({"neighbors": [[100, 0.5]]}, "neighbors[0][1]: expected an integer or a string, got 0.5"),
    ],
)
def test_an_id_that_is_neither_a_number_nor_a_string_is_one_error(client, body, said):
    assert refused(client, 422, "validation", json=body)["detail"] == said


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1e39"])
def test_numbers_that_are_not_finite_in_float32_are_422(client, number):
    body = f'{{"positions": [[1, 2, 3, {number}]], "features": [{FEATURES}]}}'
    problem = refused(client, 422, "validation", content=body, headers={"Content-Type": "application/json"})
    assert problem["errors"][0]["loc"] == ["positions", 0, 3]


def test_a_body_that_is_no_object_is_422(client):
    assert "object" in refused(client, 422, "validation", json=[1])["detail"]


def test_a_million_wrong_things_get_a_short_answer(client):
    problem = refused(client, 422, "validation", json={"features": [["x"] * 1000] * 100})
    assert len(problem["errors"]) == 1
    problem = refused(client, 422, "validation", json={f"key{n}": 1 for n in range(1000)})
    assert problem["detail"] == "1000 things are wrong with the body"
    problem = refused(client, 422, "validation", json={"k" * 10_000: 1})
    assert len(problem["detail"]) < 300


def test_an_unknown_node_is_404(client):
    problem = refused(client, 404, "unknown_node", json={"node_ids": [100, 7]})
    assert problem["detail"].startswith("expected ids that the model knows, got 1 unknown: 7;")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_anything_but_plain_json_is_415(client, headers):
    refused(client, 415, "unsupported_media_type", content=b'{"node_ids": [100]}', headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
    ],
)
def test_json_may_be_declared_in_several_ways(client, headers):
    answer = client.post("/classify", content=b'{"node_ids": [100]}', headers=headers)
    assert answer.status_code == 200


def test_without_a_model_the_answer_is_503(settings):
    client = TestClient(create_app(settings))  # its lifespan has not begun
    refused(client, 503, "warming", json={"node_ids": [100]})


def test_a_failing_engine_is_500_without_a_word_about_the_cause(client):
    def fail(model_inputs, outputs):
        raise RuntimeError("/secret/path")

    replace_run(client.app, fail)
    with capture_logs() as logs:
        problem = refused(client, 500, "backend", json={"node_ids": [100]})
    assert "secret" not in str(problem)
    assert "/secret/path" in str(next(line for line in logs if line["event"] == "batch failed")["exc_info"])


def test_a_full_queue_is_429_with_a_time_to_come_back(settings, gate):
    async def scenario():
        app = create_app(settings)
        async with asking(app) as client:
            replace_run(app, gate, max_queued_rows=40)
            running = asyncio.create_task(client.post("/classify", json={"node_ids": [100] * 40}))
            await asyncio.to_thread(gate.entered.wait, 10)
            waiting = asyncio.create_task(client.post("/classify", json={"node_ids": [100] * 40}))
            value = app.app_state.metrics.registry.get_sample_value
            while value("rbm_queue_rows", {"model_name": "tiny"}) < 40:
                await asyncio.sleep(0)
            full = await client.post("/classify", json={"node_ids": [100]})
            gate.opened.set()
            return full, await running, await waiting

    full, running, waiting = asyncio.run(scenario())
    assert (full.status_code, full.json()["code"]) == (429, "overloaded")
    assert int(full.headers["retry-after"]) >= 1
    assert running.status_code == waiting.status_code == 200


@pytest.mark.parametrize(("limit", "asked"), [(60, 0.02), (0.02, None), (0.02, 60)])
def test_past_the_shorter_of_both_time_limits_the_answer_is_504(settings, gate, limit, asked):
    with TestClient(create_app(settings.model_copy(update={"request_timeout_seconds": limit}))) as client:
        replace_run(client.app, gate)
        body = {"node_ids": [100] * 40, "timeout_seconds": asked}
        problem = refused(client, 504, "deadline_exceeded", json=body)
        gate.opened.set()
        assert problem["detail"] == "the request was not computed within its time limit"
        value = client.app.app_state.metrics.registry.get_sample_value
        assert value("rbm_inference_failures_total", {"reason": "deadline"}) == 1
