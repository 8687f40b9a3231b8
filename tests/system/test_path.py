"""Train, publish, serve, classify: the path a user walks, each step by its own command."""

import json
import os
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from rbm_training.config import load_config
from rbm_training.data.loading import load_dataset
from tests.servers import SERVE, find_free_port, wait_until_ready

EXPERIMENT = """
name = "path"
[dataset]
kind = "synthetic"
setting = "inductive"
[teacher]
max_epochs = 60
[positions]
width = 8
walk_length = 10
[distill]
max_epochs = 40
"""


def command(*arguments):
    return [sys.executable, "-m", *map(str, arguments)]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("path")
    (folder / "path.toml").write_text(EXPERIMENT)
    train = command("rbm_training", "run", folder / "path.toml", "--out", folder / "run")
    subprocess.run(train, check=True, capture_output=True)
    publish = ("publish", folder / "run" / "bundle", "--promote")
    models = ("rbm_bundle", "--models-dir", folder / "models")
    subprocess.run(command(*models, *publish), check=True, capture_output=True)
    subprocess.run(command(*models, "verify", "path"), check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def post(run_folder):
    port = find_free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RBM_")}
    settings = {"RBM_MODELS_DIR": str(run_folder / "models"), "RBM_DEVICE": "cpu", "RBM_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(SERVE, env=kept | settings, stderr=subprocess.DEVNULL) as process:
        wait_until_ready(url, process)

        def send(body):
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/classify", json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)["predictions"]

        yield send
        process.terminate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def task(run_folder):
    config = load_config(run_folder / "path.toml")
    return load_dataset(config.dataset).task(config.dataset, seed=0)


@pytest.fixture(scope="module")
def report(run_folder):
    return json.loads((run_folder / "run" / "report.json").read_text())


def share_right(predictions, labels):
    return np.mean([prediction["class_index"] for prediction in predictions] == labels)


def test_unseen_nodes_score_through_the_service_what_training_reported(post, task, report):
    body = {
        "features": task.graph.dense_features()[task.unseen].tolist(),
        "neighbors": [task.graph.neighbors_of(node).tolist() for node in task.unseen],
    }
    predictions = post(body)
    assert share_right(predictions, task.graph.labels[task.unseen]) == pytest.approx(
        report["unseen_accuracy"]
    )
    assert {prediction["position"] for prediction in predictions} <= {"neighbors", "default"}


def test_known_nodes_need_nothing_but_their_id(post, task, report):
    test_nodes = task.observed_nodes[task.test]
    predictions = post({"node_ids": test_nodes.tolist()})
    found = share_right(predictions, task.graph.labels[test_nodes])
    assert found == pytest.approx(report["observed_test_accuracy"])
    assert {prediction["position"] for prediction in predictions} == {"cached"}


def test_the_student_is_worth_serving(report):
    assert report["test_accuracy"] > report["baseline_test_accuracy"]
