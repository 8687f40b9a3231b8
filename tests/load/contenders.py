"""The service and what it is compared with: servers of one process, each on one core."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.load.wrk import Server
from tests.servers import SERVE, find_free_port, wait_until_ready


@contextmanager
def service(models_dir: Path, core: int, **settings: object) -> Iterator[Server]:
    """`rbm-serve` on the CPU, with these settings besides."""
    port = find_free_port()
    ours = {"models_dir": models_dir, "device": "cpu", "port": port, **settings}
    with _server(
        SERVE, port, core, {f"RBM_{name.upper()}": str(value) for name, value in ours.items()}
    ) as it:
        yield it


@contextmanager
def yardstick(module: str, core: int, *arguments: str) -> Iterator[Server]:
    """A module of this package that serves on the port it is given."""
    port = find_free_port()
    with _server([sys.executable, "-m", f"tests.load.{module}", str(port), *arguments], port, core, {}) as it:
        yield it


@contextmanager
def _server(command: Sequence[str], port: int, core: int, settings: Mapping[str, str]) -> Iterator[Server]:
    """A server on one core; its log goes where it costs the least, as that of the others does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RBM_")}
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env={**inherited, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait()
