"""A service in a process of its own, as the tests start it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tests.keys import ADMIN_KEY

SERVE = [sys.executable, "-m", "rbm_service"]
# Root may write where the mode of a folder says that nobody may, unless it has given up this right before.
SERVE_UNPRIVILEGED = [
    sys.executable,
    "-c",
    "import ctypes, os, sys;"
    "PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1;"
    "ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'rbm_service'])",
]


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, process: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            return urllib.request.urlopen(f"{url}/readyz", timeout=10).close()
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the service was not ready within a minute")


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class RunningServer:
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def status(self, path: str, key: str) -> int:
        request = urllib.request.Request(f"{self.url}{path}", headers={"X-API-Key": key})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def classify(self, body: object) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/classify", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def command(self, name: str, command: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Status and answer of an admin's route."""
        headers = {"Content-Type": "application/json", "X-API-Key": ADMIN_KEY}
        url = f"{self.url}/admin/models/{name}/{command}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def metric(self, series: str) -> float:
        lines = [line for line in self.get("/metrics").decode().splitlines() if line.startswith(series)]
        assert len(lines) == 1, lines
        return float(lines[0].rsplit(" ", 1)[1])

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["event"] == name]


@contextmanager
def running_server(
    models_dir: Path, log: Path, command: Sequence[str] = SERVE, **settings: object
) -> Iterator[RunningServer]:
    """A server that is ready; it is killed in the end, unless it has ended by itself."""
    with (
        log.open("wb") as stderr,
        server_with_stderr(models_dir, stderr, command, log=log, **settings) as running,
    ):
        yield running


@contextmanager
def server_with_stderr(
    models_dir: Path,
    stderr: BinaryIO | None,
    command: Sequence[str],
    *,
    log: Path = Path(os.devnull),
    **settings: object,
) -> Iterator[RunningServer]:
    """The same, where the test says what becomes of its log."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RBM_")}
    port = find_free_port()
    ours = {"models_dir": models_dir, "device": "cpu", "port": port, "max_batch_rows": 64, **settings}
    env = kept | {f"RBM_{name.upper()}": str(value) for name, value in ours.items()}
    with subprocess.Popen(command, env=env, stderr=stderr) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield RunningServer(process, port, log)
        finally:
            process.kill()
