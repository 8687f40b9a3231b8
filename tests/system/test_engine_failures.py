"""The engine fails in every way it can: only who is concerned is told, and the service recovers."""

import json
import signal
import sys
import threading
import time
import urllib.error
from contextlib import contextmanager

import onnxruntime
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from rbm_bundle import ModelRepository
from rbm_service.app import create_app
from rbm_service.runtime.engine import Engine
from rbm_service.serving.watchdog import EXIT_ENGINE_LOST
from rbm_service.settings import Settings
from tests import faults
from tests.bundles import TINY
from tests.callers import calling
from tests.faults import DAMAGES, Fault, FaultInFile, faulty
from tests.servers import running_server, wait_until

INLINE, LARGE = 3, 40  # rows of a request that runs on the event loop, and of one that does not


@pytest.fixture
def fault(monkeypatch):
    fault = Fault()
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", faulty(onnxruntime.InferenceSession.run, fault))
    yield fault
    fault.end()


@pytest.fixture
def client(models_dir, monkeypatch):
    monkeypatch.setattr("rbm_service.serving.supervisor.REBUILD_TIMEOUTS", 100)  # however long a test takes
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=64, engine_timeout_seconds=5)
    with capture_logs(), TestClient(create_app(settings)) as client:
        yield client


def classify(client, num_rows):
    answer = client.post("/classify", json={"node_ids": [100] * num_rows})
    return answer.status_code, answer.json().get("code")


def value_of(client, name, **labels):
    return client.app.app_state.metrics.registry.get_sample_value(name, labels)


def failures_of(client):
    return value_of(client, "rbm_inference_failures_total", reason="backend")


@pytest.mark.parametrize("num_rows", [INLINE, LARGE])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_poisoned_batch_fails_alone(client, fault, name, num_rows):
    fault.begin(DAMAGES[name], num_rows)
    for failed in range(1, 5):  # more failures in a row than an engine may have without a probe
        assert classify(client, num_rows) == (500, "backend")
        assert failures_of(client) == failed
    assert classify(client, num_rows + 1) == (200, None)
    assert client.get("/readyz").status_code == 200
    fault.end()
    assert classify(client, num_rows) == (200, None)
    assert failures_of(client) == 4
    assert value_of(client, "rbm_engine_restarts_total", model_name="tiny") == 0


@pytest.mark.parametrize("damage", ["hang", "fail"])
def test_an_engine_that_is_down_is_unready_refuses_and_recovers(client, fault, damage, monkeypatch):
    opened, warm_up = threading.Event(), Engine.warm_up

    def warm_up_later(engine, max_rows):
        assert opened.wait(60)
        warm_up(engine, max_rows)

    monkeypatch.setattr(Engine, "warm_up", warm_up_later)
    if damage == "hang":
        fault.begin(fault.hang, LARGE)
        assert classify(client, LARGE) == (500, "backend")
    else:
        fault.begin(DAMAGES["fail"])
        for _ in range(3):
            assert classify(client, LARGE) == (500, "backend")
    wait_until(lambda: client.get("/readyz").status_code == 503, "unready")
    fault.damage = None
    for _ in range(3):
        answer = client.post("/classify", json={"node_ids": [100]})
        assert (answer.status_code, answer.json()["code"]) == (503, "unhealthy")
        assert answer.headers["retry-after"] == "5"
    answer = client.get("/readyz")
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("unhealthy", "5")
    assert client.get("/livez").status_code == 200
    assert value_of(client, "rbm_inference_failures_total", reason="rejected") == 3
    wait_until(lambda: value_of(client, "rbm_engine_healthy", model_name="tiny") == 0, "unhealthy")
    wait_until(lambda: value_of(client, "rbm_model_ready", model_name="tiny") == 0, "unready")

    opened.set()
    wait_until(lambda: client.get("/readyz").status_code == 200, "ready")
    assert classify(client, INLINE) == classify(client, LARGE) == (200, None)
    assert value_of(client, "rbm_engine_restarts_total", model_name="tiny") == 1
    assert value_of(client, "rbm_model_ready", model_name="tiny") == 1
    wait_until(lambda: value_of(client, "rbm_engine_healthy", model_name="tiny") == 1, "healthy")


@contextmanager
def serving_with_fault(models_dir, tmp_path, **settings):
    """A service in a process of its own, and the file that says what goes wrong in it."""
    file = tmp_path / "fault"
    command = [sys.executable, faults.__file__, str(file)]
    with running_server(models_dir, tmp_path / "log", command, **settings) as server:
        yield server, file


def status_of(server, num_rows):
    try:
        server.classify({"node_ids": [100] * num_rows})
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["code"]
    return 200, None


def test_a_process_whose_engine_cannot_be_rebuilt_drains_and_ends(models_dir, tmp_path):
    with serving_with_fault(models_dir, tmp_path, drain_seconds=4) as (server, file):
        file.write_text("fail")
        wait_until(lambda: status_of(server, LARGE) == (503, "unhealthy"), "the engine down")
        assert server.process.wait(60) == EXIT_ENGINE_LOST
        assert len(server.events("rebuild failed")) == 3
        (line,) = server.events("engine lost")
        assert line["reason"] == "tiny 1: 3 tries to rebuild it failed"
        assert server.events("draining")
        assert "Traceback" not in server.log.read_text().split("engine lost")[1]


@pytest.fixture
def two_models(tmp_path):
    """`tiny`, whose engine can be made to fail, and `sparse`, whose engine never does."""
    repository = ModelRepository(tmp_path / "models")
    for folder in (TINY, TINY.with_name("sparse_bundle")):
        repository.promote(folder.name.split("_")[0], repository.publish(folder, folder.name.split("_")[0]))
    return repository.root


@pytest.mark.parametrize("order", ["signal during the last rebuild", "signal after the engine is lost"])
def test_a_signal_around_the_loss_of_an_engine_loses_no_request_of_a_healthy_model(
    two_models, tmp_path, order
):
    answers = []

    def check(index, answer):
        if answer is None:
            return False
        answers.append((answer.status, answer.body.get("code")))
        return answer.status == 200

    settings = {"model": "tiny, sparse", "drain_seconds": 6}
    queries = [{"model": "sparse", "features": {"indptr": [0, 1], "indices": [3]}, "neighbors": [[]]}]
    with serving_with_fault(two_models, tmp_path, **settings) as (server, file):
        fault = FaultInFile(file)
        fault.say("fail")
        wait_until(lambda: status_of(server, LARGE) == (503, "unhealthy"), "the engine down")
        wait_until(lambda: len(server.events("rebuild failed")) == 2, "two tries")
        fault.say("hold")
        wait_until(lambda: len(server.events("rebuilding model")) == 3, "the last try")
        with calling(server.port, queries, check) as calls:
            wait_until(lambda: len(answers) > 100 or calls.failures, "answers")
            if order == "signal during the last rebuild":
                server.process.send_signal(signal.SIGTERM)
                wait_until(lambda: server.events("draining"), "draining")
            fault.say("fail")
            wait_until(lambda: server.events("engine lost"), "the loss")
            if order == "signal after the engine is lost":
                server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == EXIT_ENGINE_LOST
    assert calls.failures == []
    assert set(answers) == {(200, None), (503, "draining")}


def test_an_engine_that_goes_down_while_the_service_drains_is_told_by_the_exit_code(models_dir, tmp_path):
    with serving_with_fault(models_dir, tmp_path, drain_seconds=20, engine_timeout_seconds=1) as (
        server,
        file,
    ):
        file.write_text(f"hang {LARGE}")
        asking = threading.Thread(target=status_of, args=(server, LARGE))
        asking.start()
        wait_until(
            lambda: server.metric('rbm_http_requests_in_progress{route="/classify"}') == 1, "a request"
        )
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == EXIT_ENGINE_LOST
        asking.join()
        (line,) = server.events("engine lost")
        assert line["reason"] == "tiny 1: down when the service ended"


def test_a_second_signal_ends_the_process_at_once_also_when_an_engine_is_lost(models_dir, tmp_path):
    with serving_with_fault(models_dir, tmp_path, drain_seconds=60) as (server, file):
        file.write_text("fail")
        wait_until(lambda: status_of(server, LARGE) == (503, "unhealthy"), "the engine down")
        wait_until(lambda: server.events("engine lost"), "the loss")
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert server.process.returncode == -signal.SIGTERM


def test_a_process_whose_event_loop_stands_still_ends(models_dir, tmp_path):
    with serving_with_fault(models_dir, tmp_path, engine_timeout_seconds=3) as (server, file):
        file.write_text(f"hang {INLINE}")
        with pytest.raises(OSError, match=r"."):  # no answer at all
            server.classify({"node_ids": [100] * INLINE})
        assert server.process.wait(60) == EXIT_ENGINE_LOST
        (line,) = server.events("event loop stands still")
        assert line["seconds"] == 3
