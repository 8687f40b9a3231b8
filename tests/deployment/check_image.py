"""Runs the CPU image of the service as Compose would and looks at what it does; `make image-check` runs this.

Docker is needed. Where `prometheus` and `promtool` are installed too, the metrics are scraped with the rules
of `docker/alerts.yml` under a short load, and every query of the dashboard has to return numbers.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rbm_bundle import ModelRepository
from tests.deployment.monitoring import DOCKER, Query, alert_queries, dashboard_queries
from tests.servers import find_free_port

BUNDLE = Path(__file__).parents[1] / "data" / "tiny_bundle"
MAX_IMAGE_BYTES = 350_000_000
START_SECONDS = 60
LOAD_SECONDS = 15
WINDOW = f"{LOAD_SECONDS}s"
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--network", "host"),
)


class CheckError(Exception):
    """The image does not do what is claimed."""


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
    publish(folder / "models")
    api, metrics = (f"127.0.0.1:{find_free_port()}" for _ in range(2))
    with running(image, folder / "models", api, metrics) as container:
        check_confinement(container)
        claim(classify(api, {"node_ids": [100, 105]}) == 200, "it classifies over HTTP")
        if shutil.which("prometheus") and shutil.which("promtool"):
            check_metrics(metrics)
            check_monitoring(api, metrics, folder)
        else:
            print("skipped: metrics, dashboard and alerts (prometheus or promtool is not installed)")
        docker("stop", container)
        claim(inspect(container, "{{.State.ExitCode}}") == "0", "it stops with 0 when told to")


def publish(models: Path) -> None:
    """The tiny bundle as a model repository."""
    repository = ModelRepository(models)
    repository.promote("tiny", repository.publish(BUNDLE, "tiny"))


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
            series = ask(address, "query", query=query.filled_in(WINDOW))["result"]
            numbers = [one["value"][1] for one in series if one["value"][1] != "NaN"]
            claim(
                bool(numbers),
                f"dashboard, {query.place}: {len(numbers)} of {len(series)} series have a number",
            )
        wait_until(lambda: all_evaluated(address), "every alert was evaluated")
        for rule in rules(address):
            claim(rule["health"] == "ok", f"alert {rule['name']}: {rule['state']}")
        for query in alert_queries():
            check_alert(address, query)


def check_alert(address: str, query: Query) -> None:
    """The series behind an alert are there, so that its silence means something."""
    for name in sorted(query.metrics()):
        claim(bool(ask(address, "query", query=name)["result"]), f"alert {query.place}: reads {name}")


@contextmanager
def prometheus(metrics: str, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that runs the project's configuration, only faster and with this target."""
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [metrics]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DOCKER / "alerts.yml", folder)
    address = f"127.0.0.1:{find_free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_there(f"http://{address}/-/ready"), "Prometheus accepts the configuration")
            yield address
        finally:
            process.terminate()


def ask(address: str, what: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus."""
    url = f"http://{address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise CheckError(f"{parameters}: {error.read().decode()}") from error


def rules(address: str) -> list[dict[str, Any]]:
    """The alerts as Prometheus sees them."""
    return [rule for group in ask(address, "rules")["groups"] for rule in group["rules"]]


def all_evaluated(address: str) -> bool:
    """Whether no rule is still waiting for its first time."""
    return all(rule["health"] != "unknown" for rule in rules(address))


def put_load_on(api: str) -> None:
    """Requests of every kind, those that are refused among them."""
    ids = np.load(BUNDLE / "node_ids.npy").tolist()
    features = np.load(BUNDLE / "features.dense.npy").tolist()
    bodies: list[dict[str, Any]] = [
        {"node_ids": ids},
        {"node_ids": ids[:1], "min_confidence": 1.0},
        {"features": features, "neighbors": [ids[:2]] * len(features)},
        {"node_ids": [1]},
    ]
    stop = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < stop:
        for body in bodies:
            classify(api, body)
        time.sleep(0.02)


def classify(api: str, body: dict[str, Any]) -> int:
    """The status that a request is answered with."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{api}/classify", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def is_there(url: str) -> bool:
    """Whether somebody answers with 200."""
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


def wait_until(holds: Any, what: str) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise CheckError(f"after {START_SECONDS} s it is still not so that {what}")
        time.sleep(0.5)
    print(f"ok: {what}")


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
