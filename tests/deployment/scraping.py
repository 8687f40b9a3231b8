"""A real Prometheus with the project's configuration, and a load that leaves no panel empty."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from rbm_bundle import ModelRepository, ShadowSpec
from tests.deployment.monitoring import ALERTS, DOCKER
from tests.servers import find_free_port

BUNDLE: Final = Path(__file__).parents[1] / "data" / "tiny_bundle"
LOAD_SECONDS: Final = 15
WINDOW: Final = f"{LOAD_SECONDS}s"
PATIENCE_SECONDS: Final = 60
RUNBOOKS_URL: Final = "https://runbooks.example/operations"


class CheckError(Exception):
    """What is claimed is not so."""


def publish_with_shadow(models: Path) -> None:
    """A model repository: the tiny bundle in service, and once more as its shadow."""
    repository = ModelRepository(models)
    repository.promote("tiny", repository.publish(BUNDLE, "tiny"))
    repository.set_shadow("tiny", ShadowSpec(repository.publish(BUNDLE, "tiny"), share=1.0))


@contextmanager
def prometheus(metrics: str, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that runs the project's configuration, only faster and with this target."""
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [metrics]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    alerts = yaml.safe_load(ALERTS.read_text())
    for group in alerts["groups"]:
        group.pop("interval", None)
    (folder / "alerts.yml").write_text(yaml.safe_dump(alerts))
    address = f"127.0.0.1:{find_free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
        "--enable-feature=expand-external-labels",  # before version 3, where it is always so
    ]
    environment = os.environ | {"RUNBOOKS_URL": RUNBOOKS_URL}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
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


def numbers_for(address: str, query: str) -> list[float]:
    """What a query gives at this moment, without what is not a number."""
    series = ask(address, "query", query=query)["result"]
    return [float(one["value"][1]) for one in series if one["value"][1] != "NaN"]


def rules(address: str) -> list[dict[str, Any]]:
    """The alerts, and the rules that record a series, as Prometheus sees them."""
    return [rule for group in ask(address, "rules")["groups"] for rule in group["rules"]]


def all_evaluated(address: str) -> bool:
    """Whether no rule is still waiting for its first time."""
    return all(rule["health"] != "unknown" for rule in rules(address))


def put_load_on(api: str) -> None:
    """Requests of every kind, those that are refused among them."""
    ids = np.load(BUNDLE / "node_ids.npy").tolist()
    features = np.load(BUNDLE / "features.dense.npy").tolist()
    tensor = {"name": "node_ids", "shape": [len(ids)], "datatype": "INT64", "data": ids}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/classify", {"node_ids": ids}),
        ("/classify", {"node_ids": ids[:1], "min_confidence": 1.0}),
        ("/classify", {"features": features, "neighbors": [ids[:2]] * len(features)}),
        ("/classify", {"node_ids": [1]}),
        ("/v2/models/tiny/infer", {"inputs": [tensor]}),
    ]
    stop = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < stop:
        for path, body in requests:
            post(api, path, body)
        time.sleep(0.02)


def post(api: str, path: str, body: dict[str, Any]) -> int:
    """The status that a request is answered with."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{api}{path}", json.dumps(body).encode(), headers)
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


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise CheckError(f"after {PATIENCE_SECONDS} s it is still not so that {what}")
        time.sleep(0.5)
