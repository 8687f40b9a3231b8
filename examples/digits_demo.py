"""The whole path on real data: train, publish, serve, classify, show. `make demo` runs it.

Handwritten digits as a graph: 1,797 images, ten labels a class, one image in ten held out. The held-out
images are classified by a service that has never seen them nor the graph: from their pixels and the ids of
similar images.
"""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from rbm_training.config import load_config
from rbm_training.data.graph import Task
from rbm_training.data.loading import load_dataset
from walkthrough import ROOT, command, console, service, step

EXPERIMENT = ROOT / "training" / "experiments" / "digits.toml"
MODELS = ROOT / "models"
NUM_SINGLE_REQUESTS = 300
ALLOWED_BELOW_TEACHER = 0.015


def main() -> int:
    """Run every step; 0 when the student is as good as promised."""
    folder = ROOT / "runs" / f"digits-demo-{time.strftime('%Y%m%d-%H%M%S')}"
    step("1. Train", "GraphSAGE teacher → DeepWalk positions → RbM student → ONNX graphs")
    command("rbm-train", "run", str(EXPERIMENT), "--out", str(folder))
    report = json.loads((folder / "report.json").read_text())

    step("2. Publish", "the bundle becomes the next version in models/, and the current one")
    command("rbm-models", "--models-dir", str(MODELS), "publish", str(folder / "bundle"), "--promote")

    step("3. Serve", "FastAPI + ONNX Runtime on the CPU; no torch, no graph")
    with service(MODELS, "digits") as url:
        client = Client(url)
        show_served(client)
        served_accuracy = classify(client, report["exported_seed"])
        step("5. Latency", "read from the service's own /metrics")
        console.print(latency_table(client.get("/metrics").decode()))
    step("6. Accuracy", "at the epoch of best validation; nothing was chosen on test")
    console.print(accuracy_table(report))
    good = verdict(report, served_accuracy)
    step("Next", "")
    console.print("  make serve                      serve the published model on port 8000")
    console.print("  make help                       everything else")
    console.print(f"  {relative(folder)}/report.html   this run as a page, report.json its numbers")
    return 0 if good else 1


def relative(path: Path) -> Path:
    """The path as it reads from the repository root."""
    return path.relative_to(ROOT)


@dataclass(frozen=True)
class Client:
    """A minimal HTTP client for one service."""

    url: str

    def get(self, path: str) -> bytes:
        """Body of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            return bytes(response.read())

    def post(self, path: str, body: Any) -> tuple[int, Any]:  # noqa: ANN401 - whatever JSON can say
        """Status and JSON answer of a POST."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def show_served(client: Client) -> None:
    """Say which version is served."""
    info = json.loads(client.get("/info"))
    console.print(f"ready: {info['model']['name']} version {info['model']['version']} on {info['provider']}")


def classify(client: Client, seed: int) -> float:
    """Known images, a held-out one, a mistake; then all held-out images, and their accuracy as served."""
    config = load_config(EXPERIMENT)
    task = load_dataset(config.dataset).task(config.dataset, seed)
    known = [int(node) for node in task.observed_nodes[[0, 1, 2]]]
    step("4. Classify", "three known images, by id alone")
    show_exchange(client, {"node_ids": known})
    console.print(f"   (they are {', '.join(map(str, task.graph.labels[known]))})")

    held_out = held_out_request(task, task.unseen[:1])
    step("   ", "a held-out image: its pixels and the ids of its nearest known images")
    answer = show_exchange(client, held_out | {"top_k": 2})
    console.print(f"   (it is a {task.graph.labels[task.unseen[0]]})")
    if answer["predictions"][0]["position"] != "neighbors":
        raise SystemExit("the held-out image was not placed by its neighbours")

    step("   ", "a mistake is named, and hurts nobody else")
    show_exchange(client, {"node_ids": known, "top_kay": 2})

    _, answer = client.post("/classify", held_out_request(task, task.unseen))
    found = [prediction["class_index"] for prediction in answer["predictions"]]
    for node in range(NUM_SINGLE_REQUESTS):
        client.post("/classify", {"node_ids": [int(task.observed_nodes[node])]})
    return float(np.mean(np.array(found) == task.graph.labels[task.unseen]))


def held_out_request(task: Task, nodes: np.ndarray) -> dict[str, Any]:
    """Pixels and observed neighbours of unseen images."""
    return {
        "features": task.graph.dense_features()[nodes].tolist(),
        "neighbors": [task.graph.neighbors_of(node).tolist() for node in nodes],
    }


def show_exchange(client: Client, body: dict[str, Any]) -> Any:  # noqa: ANN401
    """Send a request and print both sides, long lists cut."""
    status, answer = client.post("/classify", body)
    console.print(f"   → {shortened(json.dumps(body))}", highlight=False, soft_wrap=True)
    text = json.dumps(answer.get("predictions", answer))
    console.print(f"   ← {status} {shortened(text, 420)}", highlight=False, soft_wrap=True)
    return answer


def shortened(text: str, length: int = 150) -> str:
    """The text, cut in the middle when it is long."""
    return text if len(text) <= length else f"{text[: length // 2]} … {text[-length // 2 :]}"


def latency_table(metrics: str) -> Table:
    """Percentiles of /classify and of its stages."""
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    table = Table("milliseconds, at most", "p50", "p90", "p99", "requests")
    whole = families["rbm_http_request_duration_seconds"].samples
    table.add_row("whole request", *percentiles([s for s in whole if s.labels.get("route") == "/classify"]))
    stages = families["rbm_stage_duration_seconds"].samples
    for stage in ("parse", "position_lookup", "queue", "inference", "serialize"):
        table.add_row(f"· {stage}", *percentiles([s for s in stages if s.labels.get("stage") == stage]))
    return table


def percentiles(samples: list[Any]) -> list[str]:
    """The upper bounds of the buckets that hold p50, p90 and p99, and the count."""
    buckets = sorted((float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket"))
    total = buckets[-1][1]
    bounds = [next(bound for bound, count in buckets if count >= q * total) for q in (0.5, 0.9, 0.99)]
    return [f"{1000 * bound:.3g}" for bound in bounds] + [f"{total:.0f}"]


def accuracy_table(report: dict[str, Any]) -> Table:
    """Logistic regression, teacher and student on the images that were in the graph and on those held out."""
    table = Table("accuracy", "logistic regression", "teacher", "student")
    table.caption = "on the pixels alone; with the whole graph; served, without the graph"
    for title, key in (("in the graph", "observed_test_accuracy"), ("unseen", "test_accuracy")):
        names = (f"baseline_{key}", f"teacher_{key}", key)
        table.add_row(title, *(f"{report[name]:.4f}" for name in names))
    return table


def verdict(report: dict[str, Any], served_accuracy: float) -> bool:
    """Whether the student keeps its promises; says which."""
    promises = {
        f"unseen images through the service: {served_accuracy:.4f}, as measured offline": np.isclose(
            served_accuracy, report["test_accuracy"]
        )
    }
    for where, key in (("in the graph", "observed_test_accuracy"), ("unseen", "test_accuracy")):
        student, teacher, baseline = (report[p + key] for p in ("", "teacher_", "baseline_"))
        promises[f"{where}: student within {ALLOWED_BELOW_TEACHER} of its teacher"] = (
            student >= teacher - ALLOWED_BELOW_TEACHER
        )
        promises[f"{where}: student above logistic regression"] = student > baseline
    for promise, kept in promises.items():
        console.print(f"  {'[green]✓[/green]' if kept else '[red]✗[/red]'} {promise}")
    return all(promises.values())


if __name__ == "__main__":
    raise SystemExit(main())
