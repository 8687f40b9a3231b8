"""What the examples share: headings, the project's own commands, and a service in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
START_SECONDS = 60
console = Console()


def step(title: str, words: str) -> None:
    """A heading."""
    console.print(f"\n[bold]{title}[/bold]  {words}")


def command(program: str, *arguments: str) -> None:
    """Run one of the project's own commands and show it."""
    shown = " ".join(word.replace(f"{ROOT}/", "") for word in (program, *arguments))
    console.print(f"$ {shown}", style="cyan", highlight=False, soft_wrap=True)
    done = subprocess.run([str(BIN / program), *arguments], cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"{program} failed with exit code {done.returncode}")


@contextmanager
def service(models: Path, model: str) -> Iterator[str]:
    """The address of a service for one model on a free port, which is stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"MODELS_DIR": models, "MODEL": model, "DEVICE": "cpu", "PORT": port, "LOG_LEVEL": "warning"}
    environment = os.environ | {f"RBM_{name}": str(value) for name, value in settings.items()}
    shown = f"$ RBM_MODEL={model} RBM_DEVICE=cpu RBM_PORT={port} rbm-serve"
    console.print(shown, style="cyan", highlight=False)
    with subprocess.Popen([str(BIN / "rbm-serve")], cwd=ROOT, env=environment) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Poll readiness, or give up with the reason."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the service stopped with exit code {process.returncode}")
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"the service was not ready within {START_SECONDS} seconds")
