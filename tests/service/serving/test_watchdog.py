import asyncio
import fcntl
import json
import os
import subprocess
import sys

import pytest

from rbm_service.serving.watchdog import EXIT_ENGINE_LOST, Watchdog

STANDS_STILL = """
import asyncio, time
from rbm_service.observability.logging import configure_logging
from rbm_service.serving.watchdog import Watchdog

async def main():
    with Watchdog(1):
        await asyncio.sleep(0)
        time.sleep(60)

configure_logging("json", "info")
asyncio.run(main())
"""


def test_an_event_loop_that_runs_keeps_the_process_alive(monkeypatch):
    ends = []
    monkeypatch.setattr("rbm_service.serving.watchdog.os._exit", ends.append)

    async def scenario():
        with Watchdog(2):
            await asyncio.sleep(3.5)

    asyncio.run(scenario())
    assert ends == []


def end_with(stderr):
    return subprocess.run([sys.executable, "-c", STANDS_STILL], stderr=stderr, timeout=30).returncode


def test_a_loop_that_stands_still_ends_the_process_with_a_line_that_says_so(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        assert end_with(log) == EXIT_ENGINE_LOST
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line) == {"event": "event loop stands still", "level": "critical", "seconds": 1}


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_it_ends_the_process_also_when_nobody_reads_stderr(pipe):
    _, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    assert end_with(writer) == EXIT_ENGINE_LOST
    assert os.get_blocking(writer)  # as others who write to it expect


def test_it_ends_the_process_also_when_the_reader_of_stderr_has_gone(pipe):
    reader, writer = pipe
    os.dup2(os.open(os.devnull, os.O_RDONLY), reader)
    assert end_with(writer) == EXIT_ENGINE_LOST


def test_it_ends_the_process_also_when_stderr_is_closed():
    command = f"exec 2>&-; exec {sys.executable} -c '{STANDS_STILL}'"
    assert subprocess.run(["bash", "-c", command], timeout=30).returncode == EXIT_ENGINE_LOST
