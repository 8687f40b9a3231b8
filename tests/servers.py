"""A service in a process of its own, as the tests start it."""

import socket
import subprocess
import sys
import time
import urllib.request

SERVE = [sys.executable, "-m", "rbm_service"]


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            return urllib.request.urlopen(f"{url}/readyz", timeout=10).close()
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the service was not ready within a minute")
