"""`POST /v2/…/infer`: the answer, bodies of every form, and what is refused."""

import asyncio
import gzip
import json
import threading
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from rbm_service.api.v2 import infer
from rbm_service.api.v2.responses import InferAnswer
from rbm_service.app import create_app
from tests.classifying import asking, replace_run
from tests.service.api.v2.protocol import BODY, IDS, INFER, refused

LENGTH = "Inference-Header-Content-Length"


def failures(client, reason):
    registry = client.app.app_state.metrics.registry
    return registry.get_sample_value("rbm_inference_failures_total", {"reason": reason})


def test_the_answer_is_that_of_classify_to_the_bit(client):
    classified = client.post("/classify", json={"node_ids": [105, 100], "return_probabilities": True})
    wanted = [row["probabilities"] for row in classified.json()["predictions"]]
    output = client.post(INFER, json=BODY).json()["outputs"][0]
    assert output["shape"] == [2, 3]
    assert output["data"] == [number for row in wanted for number in row]


def test_a_request_is_timed_and_counted_as_one_of_classify_is(client):
    assert "inference;dur=" in client.post(INFER, json=BODY).headers["server-timing"]
    stats = client.get("/v2/models/tiny/stats").json()["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] == 1
    refused(client, 404, json={"inputs": [{**IDS, "data": [1, 2]}]})
    registry = client.app.app_state.metrics.registry
    assert (
        registry.get_sample_value("rbm_position_lookups_total", {"model_name": "tiny", "result": "cached"})
        == 2
    )
    assert (
        registry.get_sample_value("rbm_position_lookups_total", {"model_name": "tiny", "result": "missing"})
        == 2
    )
    assert failures(client, "validation") == 1


def test_unknown_nodes_are_refused_or_left_without_an_answer_as_in_classify(client):
    ids = {**IDS, "shape": [3], "data": [7, 105, 100]}
    assert "1 unknown: 7" in refused(client, 404, json={"inputs": [ids]})
    known = client.post(INFER, json=BODY).json()["outputs"][0]["data"]
    in_part = {"parameters": {"on_unknown": "null"}}
    answer = client.post(INFER, json={"inputs": [ids], **in_part})
    output = InferAnswer.model_validate_json(answer.content).outputs[0]
    assert output.shape == [3, 3]
    assert output.data == [None, None, None, *known]
    none = client.post(INFER, json={"inputs": [{**IDS, "data": [7, 8]}], **in_part})
    assert none.json()["outputs"][0]["data"] == [None] * 6
    assert "on_unknown" in refused(client, 422, json={**BODY, "parameters": {"on_unknown": "skip"}})


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, ""),
        (b"{", 400, ""),
        (b"[]", 422, "object"),
        (json.dumps({"inputs": [IDS], "outputs": [{"name": "x"}]}), 422, "at most once, got 'x'"),
        (json.dumps({"inputs": [{**IDS, "data": [100, 7]}]}), 404, "1 unknown: 7"),
    ],
)
def test_a_wrong_body_is_refused_with_the_reason(client, content, status, said):
    assert said in refused(client, status, content=content)


@pytest.mark.parametrize(("digits", "status"), [(18, 200), (19, 422), (400, 422), (4300, 422), (5000, 400)])
def test_a_timeout_of_any_number_of_digits_has_an_answer_of_the_protocol(client, digits, status):
    content = json.dumps({"inputs": [IDS], "parameters": {"timeout": 0}}).replace("0}", "9" * digits + "}")
    answer = client.post(INFER, content=content)
    assert answer.status_code == status
    assert list(answer.json()) == (["error"] if status != 200 else ["model_name", "model_version", "outputs"])
    assert len(answer.content) < 500


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "99999", "9" * 5000])
def test_a_length_of_the_json_that_cannot_be_is_refused(client, length):
    found = refused(client, 422, content=json.dumps(BODY), headers={LENGTH: length})
    assert found.startswith(f"{LENGTH}: expected a number up to ")


COMPRESSED = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_bodies_and_answers_may_be_compressed(client, encoding):
    plain = client.post(INFER, json=BODY, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    content = COMPRESSED[encoding](json.dumps(BODY).encode())
    headers = {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    answer = client.post(INFER, content=content, headers=headers)
    assert answer.headers["content-encoding"] == encoding
    assert answer.json() == plain.json()


def test_a_body_that_expands_beyond_the_limit_is_413(settings):
    small = settings.model_copy(update={"max_body_bytes": 1000})
    with TestClient(create_app(small)) as client:
        bomb = gzip.compress(b" " * 1001)
        found = refused(client, 413, content=bomb, headers={"Content-Encoding": "gzip"})
        assert found == "the body is longer than 1000 bytes"
        assert refused(client, 413, content=b" " * 1001) == found
        assert failures(client, "too_large") == 2


def test_an_encoding_that_nobody_reads_is_415(client):
    refused(client, 415, json=BODY, headers={"Content-Encoding": "br"})


@pytest.mark.parametrize(
    ("num_bytes", "encoding", "elsewhere"),
    [(0, None, False), (infer.MAX_BYTES_ON_LOOP, None, True), (0, "gzip", True)],
)
def test_long_and_compressed_bodies_are_read_off_the_event_loop(
    client, monkeypatch, num_bytes, encoding, elsewhere
):
    threads = []
    read_question = infer.read_question

    def watched(*arguments):
        threads.append(threading.current_thread())
        return read_question(*arguments)

    monkeypatch.setattr(infer, "read_question", watched)
    content = json.dumps(BODY).encode() + b" " * num_bytes
    headers = {"Content-Encoding": encoding} if encoding else {}
    sent = gzip.compress(content) if encoding else content
    assert client.post(INFER, content=sent, headers=headers).status_code == 200
    assert threads[0].name.startswith("rbm-long-work") == elsewhere


def test_past_the_time_limit_of_the_request_the_answer_is_504(client, gate):
    replace_run(client.app, gate)
    body = {"inputs": [{**IDS, "shape": [40], "data": [100] * 40}], "parameters": {"timeout": 20_000}}
    assert refused(client, 504, json=body) == "the request was not computed within its time limit"
    gate.opened.set()
    assert failures(client, "deadline") == 1


def test_a_failing_engine_is_500_without_a_word_about_the_cause(client):
    def fail(model_inputs, outputs):
        raise RuntimeError("/secret/path")

    replace_run(client.app, fail)
    assert refused(client, 500, json=BODY) == "the request could not be computed"


def test_rows_of_both_interfaces_share_a_batch(settings):
    app = create_app(settings)

    async def scenario():
        async with asking(app) as client:
            await asyncio.gather(
                *(client.post(INFER, json=BODY) for _ in range(3)),
                *(client.post("/classify", json={"node_ids": [100]}) for _ in range(3)),
            )
            return (await client.get("/v2/models/tiny/stats")).json()["model_stats"][0]

    stats = asyncio.run(scenario())
    assert stats["inference_count"] == 3 * 2 + 3
    assert stats["inference_stats"]["success"]["count"] == 6
    assert stats["execution_count"] < 6


@given(raw=st.binary(max_size=100), length=st.integers(-5, 120) | st.text("0123456789x-", max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_framing_of_any_bytes_is_a_server_error(client, raw, length):
    headers = {LENGTH: str(length), "Content-Type": "application/octet-stream"}
    assert 400 <= client.post(INFER, content=raw, headers=headers).status_code < 500


@given(size=st.integers(0, 40), length=st.integers(0, 20), shape=st.lists(st.integers(0, 9), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_sizes_of_binary_data_are_a_server_error(client, size, length, shape):
    entry = {**IDS, "shape": shape, "parameters": {"binary_data_size": size}}
    del entry["data"]
    head = json.dumps({"inputs": [entry]}).encode()
    ids = np.full(length, 100, "<i8").tobytes()
    answer = client.post(INFER, content=head + ids, headers={LENGTH: str(len(head))})
    fits = shape == [length] and size == 8 * length and length > 0
    assert answer.status_code == 200 if fits else 400 <= answer.status_code < 500
