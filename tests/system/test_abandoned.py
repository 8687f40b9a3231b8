"""Clients give up and hang up while they wait: nothing is computed for them, and nobody else is worse off."""

import http.client
import json
import sys
from contextlib import closing, contextmanager

import pytest

from tests import faults
from tests.bundles import repository_of
from tests.callers import JSON
from tests.servers import running_server, wait_until

LARGE, SMALL = 40, 2
NUM_LEAVING, NUM_STAYING = 19, 5
CANCELED = 'rbm_inference_failures_total{reason="canceled"}'
WAITING = "rbm_queue_requests{"
EXECUTIONS = "rbm_inference_executions_total{"
ROWS_COMPUTED = "rbm_inference_rows_total{"


@pytest.fixture
def models_dir(tmp_path):
    repository = repository_of(tmp_path / "models")
    return repository.root


def ask(port, num_rows):
    """A request on its way; whoever closes the connection has given up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/classify", json.dumps({"node_ids": [100] * num_rows}), JSON)
    return connection


def status_of(connection):
    with closing(connection), connection.getresponse() as response:
        return response.status


@contextmanager
def busy(server, file):
    """An engine that computes, for as long as the block runs, a batch for somebody who waits for it."""
    file.write_text(f"hang {LARGE}")
    connection = ask(server.port, LARGE)
    wait_until(lambda: server.metric(EXECUTIONS) == 1, "the batch in the engine")
    yield
    file.unlink()
    assert status_of(connection) == 200


def test_clients_that_hang_up_while_they_wait_are_counted_and_never_computed(models_dir, tmp_path):
    file = tmp_path / "fault"
    command = [sys.executable, faults.__file__, str(file)]
    with running_server(models_dir, tmp_path / "log", command, request_timeout_seconds=60) as server:
        with busy(server, file):
            staying = [ask(server.port, SMALL) for _ in range(NUM_STAYING)]
            leaving = [ask(server.port, SMALL) for _ in range(NUM_LEAVING)]
            wait_until(lambda: server.metric(WAITING) == NUM_STAYING + NUM_LEAVING, "all of them waiting")
            for connection in leaving:
                connection.close()
            wait_until(lambda: server.metric(CANCELED) == NUM_LEAVING, "those who left counted")
            wait_until(lambda: server.metric(WAITING) == NUM_STAYING, "their places free")
        assert [status_of(connection) for connection in staying] == [200] * NUM_STAYING
        assert server.metric(ROWS_COMPUTED) == LARGE + NUM_STAYING * SMALL

        for _ in range(20):
            assert len(server.classify({"node_ids": [100] * SMALL})["predictions"]) == SMALL
        assert server.metric(CANCELED) == NUM_LEAVING
        gone = [line for line in server.events("request") if line["status"] == 499]
        assert len(gone) == NUM_LEAVING
