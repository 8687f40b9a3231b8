"""Whoever reads stderr stalls, goes, or was never there: the service does what it would have done anyway."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import TINY, repository_of
from tests.servers import SERVE, RunningServer, server_with_stderr, wait_until
from tests.unread import closed, full_disk, never_read, never_read_and_never_blocking, reader_gone

MANY = 400  # requests, whose access lines are more than a pipe holds


@pytest.fixture
def repository(tmp_path):
    repository = repository_of(tmp_path / "models")
    repository.publish(TINY)
    return repository


READERS = [never_read, never_read_and_never_blocking, reader_gone, full_disk, closed]
LOSING = READERS[:-1]


@contextlib.contextmanager
def serving(repository, stderr, serve=SERVE, **settings) -> Iterator[RunningServer]:
    command = serve if stderr is not None else ["sh", "-c", 'exec "$@" 2>&-', "sh", *serve]
    settings = {"reload_poll_seconds": 0.1, **settings}
    with server_with_stderr(repository.root, stderr, command, **settings) as running:
        yield running


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_requests_are_answered_a_promotion_is_served_and_sigterm_ends_it_well(repository, reader, log_format):
    with reader() as stderr, serving(repository, stderr, log_format=log_format) as server:
        for _ in range(MANY):
            assert server.classify({"node_ids": [100]})["model"]["version"] == 1
        repository.promote("tiny", 2)
        wait_until(lambda: server.classify({"node_ids": [100]})["model"]["version"] == 2, "the promotion")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("reader", READERS)
def test_a_batch_that_fails_is_answered_and_the_next_one_computed(repository, tmp_path, reader):
    fault = tmp_path / "fault"
    serve = [sys.executable, "-m", "tests.faults", str(fault)]
    with reader() as stderr, serving(repository, stderr, serve) as server:
        fault.write_text("fail")
        with pytest.raises(urllib.error.HTTPError, match="500"):
            server.classify({"node_ids": [100]})
        fault.unlink()
        assert server.classify({"node_ids": [100]})["model"]["version"] == 1


def test_a_reader_that_goes_while_requests_are_answered_is_not_missed(repository):
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as stderr, serving(repository, stderr) as server:
        assert os.read(read_end, 1)
        os.close(read_end)
        for _ in range(3):
            assert server.classify({"node_ids": [100]})["model"]["version"] == 1
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("reader", LOSING)
def test_the_lines_that_are_lost_are_counted(repository, reader):
    with reader() as stderr, serving(repository, stderr) as server:
        lost = "rbm_log_lines_dropped_total"
        if reader is never_read or reader is never_read_and_never_blocking:
            assert server.metric(lost) == 0  # they wait
        else:
            wait_until(lambda: server.metric(lost) > 1, "lost lines")


@pytest.mark.parametrize("reader", READERS)
def test_a_refused_promotion_changes_nothing(repository, reader):
    with reader() as stderr, serving(repository, stderr) as server:
        (repository.root / "tiny" / "2" / "labels \udcff").touch()
        repository.set_current("tiny", 2)
        refused = 'rbm_model_loads_total{model_name="tiny",outcome="refused"}'
        wait_until(lambda: server.metric(refused) == 1, "the refusal")
        assert server.classify({"node_ids": [100]})["model"]["version"] == 1
        repository.promote("tiny", repository.publish(TINY))
        wait_until(lambda: server.classify({"node_ids": [100]})["model"]["version"] == 3, "the promotion")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("settings", "code"), [({"RBM_PROT": "1"}, 2), ({"RBM_MODEL": "none"}, 1)])
def test_a_service_that_cannot_start_ends_with_its_own_code(repository, reader, settings, code):
    env = os.environ | {"RBM_MODELS_DIR": str(repository.root), "RBM_DEVICE": "cpu"} | settings
    with reader() as stderr:
        command = SERVE if stderr is not None else ["sh", "-c", 'exec "$@" 2>&-', "sh", *SERVE]
        assert subprocess.run(command, env=env, stderr=stderr, timeout=60).returncode == code


def test_no_file_or_connection_takes_the_place_of_a_closed_stderr(repository):
    with closed() as stderr, serving(repository, stderr) as server:
        assert Path(f"/proc/{server.process.pid}/fd/2").readlink() == Path(os.devnull)


def test_what_can_be_written_again_later_is_whole_lines(repository, tmp_path):
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as stderr, serving(repository, stderr) as server:
        for _ in range(MANY):
            server.classify({"node_ids": [100]})
        server.process.send_signal(signal.SIGTERM)
        stderr.close()
        with os.fdopen(read_end, "rb") as reading:
            events = [json.loads(line)["event"] for line in reading]
        assert server.process.wait(30) == 0
    assert events.count("request") >= MANY
    assert events[-1].startswith("Finished server process")
