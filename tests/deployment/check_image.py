"""Runs the CPU image of the service as Compose would and looks at what it does; `make image-check` runs this.

Docker is needed. Where `prometheus` and `promtool` are installed too, the metrics are scraped with the rules
of `docker/alerts.yml` under a short load, and every query of the dashboards has to return numbers.
"""

import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment.monitoring import PromQuery, dashboard_queries, rule_queries
from tests.deployment.scraping import (
    WINDOW,
    CheckError,
    all_evaluated,
    ask,
    numbers_for,
    post,
    prometheus,
    publish_with_shadow,
    put_load_on,
    rules,
    wait_until,
)
from tests.servers import find_free_port

MAX_IMAGE_BYTES = 350_000_000
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--network", "host"),
)


def main(image: str) -> int:
    """Run every check; 0 when all hold, 1 with the first that does not."""
    try:
        size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
        claim(size < MAX_IMAGE_BYTES, f"the image has {size / 1e6:.0f} MB")
        with tempfile.TemporaryDirectory(prefix="rbm-image-check-") as folder:
            check_container(image, Path(folder))
    except (CheckError, subprocess.CalledProcessError) as error:
        print(f"FAILED: {error} {getattr(error, 'stderr', None) or ''}", file=sys.stderr)
        return 1
    return 0


def check_container(image: str, folder: Path) -> None:
    """Everything that needs a running container."""
    folder.chmod(0o755)  # the container's user is somebody else
    publish_with_shadow(folder / "models")
    api, metrics = (f"127.0.0.1:{find_free_port()}" for _ in range(2))
    with running(image, folder / "models", api, metrics) as container:
        check_confinement(container)
        claim(post(api, "/classify", {"node_ids": [100, 105]}) == 200, "it classifies over HTTP")
        if shutil.which("prometheus") and shutil.which("promtool"):
            check_metrics(metrics)
            check_monitoring(api, metrics, folder)
        else:
            print("skipped: metrics, dashboard and alerts (prometheus or promtool is not installed)")
        docker("stop", container)
        claim(inspect(container, "{{.State.ExitCode}}") == "0", "it stops with 0 when told to")


@contextmanager
def running(image: str, models: Path, api: str, metrics: str) -> Iterator[str]:
    """A healthy container with as few rights as Compose gives it."""
    settings = {
        "RBM_DEVICE": "cpu",
        "RBM_HOST": "127.0.0.1",
        "RBM_PORT": api.split(":")[1],
        "RBM_METRICS_PORT": metrics.split(":")[1],
        "RBM_LOG_LEVEL": "warning",
    }
    environment = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    container = docker("run", "--detach", *HARDENED, "--volume", f"{models}:/models:ro", *environment, image)
    try:
        wait_until(
            lambda: inspect(container, "{{.State.Health.Status}}") == "healthy", "the health check is green"
        )
        yield container
    finally:
        docker("rm", "--force", container)


def check_confinement(container: str) -> None:
    """Who the process is, and what it can touch."""
    claim(execute(container, "import os; print(os.getuid())") == "10001", "it runs as user 10001")
    claim(execute(container, "open('/written', 'w')") is None, "the root file system is read-only")
    claim(execute(container, "open('/models/written', 'w')") is None, "the model repository is read-only")
    claim(execute(container, "open('/tmp/written', 'w')") == "", "/tmp can be written")
    status = execute(container, "print(open('/proc/1/status').read())") or ""
    capabilities = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
    claim(bool(capabilities) and set(capabilities) == {"0" * 16}, "it has no capabilities")
    for module in ("torch", "rbm_training", "pip"):
        claim(execute(container, f"import {module}") is None, f"{module} is not in the image")


def check_metrics(metrics: str) -> None:
    """What promtool has to say about names, types and help texts."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
        done = subprocess.run(["promtool", "check", "metrics"], input=answer.read(), capture_output=True)
    claim(not done.returncode and not done.stdout + done.stderr, "promtool finds no fault with /metrics")


def check_monitoring(api: str, metrics: str, folder: Path) -> None:
    """Prometheus with the rules and the dashboard's queries, under load."""
    with prometheus(metrics, folder) as address:
        put_load_on(api)
        for query in dashboard_queries():
            num_numbers = len(numbers_for(address, query.filled_in(WINDOW)))
            claim(num_numbers > 0, f"dashboard {query.place}: {num_numbers} series have a number")
        wait_until(lambda: all_evaluated(address), "every rule was evaluated")
        for rule in rules(address):
            claim(rule["health"] == "ok", f"rule {rule['name']}: {rule['health']}")
        for query in rule_queries():
            check_rule(address, query)


def check_rule(address: str, query: PromQuery) -> None:
    """The series behind a rule are there, so that an alert's silence means something."""
    for name in sorted(query.metrics()):
        claim(bool(ask(address, "query", query=name)["result"]), f"rule {query.place}: reads {name}")


def claim(holds: bool, what: str) -> None:
    """Say what holds; stop at what does not."""
    if not holds:
        raise CheckError(f"it is not so that {what}")
    print(f"ok: {what}")


def execute(container: str, code: str) -> str | None:
    """What Python prints in the container; None when it fails."""
    done = subprocess.run(
        ["docker", "exec", container, "python3", "-c", code], capture_output=True, text=True
    )
    return None if done.returncode else done.stdout.strip()


def inspect(container: str, template: str) -> str:
    """A fact about a container."""
    return docker("inspect", "--format", template, container)


def docker(*arguments: str) -> str:
    """Output of a command of Docker."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
