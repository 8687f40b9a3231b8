"""What the tutorial shows, done on packages that do not exist: its own commands, requests and program."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rbm_bundle import read_bundle
from tests.servers import running_server
from tests.system.packages_file import write_packages

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = re.findall(r"^((?:python|rbm-train|rbm-models) .*)$", PAGE, re.MULTILINE)
BODIES = [json.loads(body) for body in re.findall(r"-d '(\{.*?\})'$", PAGE, re.MULTILINE | re.DOTALL)]
PROGRAM = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)
LITTLE = {
    "teacher.max_epochs": 30,
    "teacher.hidden": 32,
    "teacher.budget": 1,
    "positions.walks_per_node": 2,
    "positions.walk_length": 20,
    "distill.max_epochs": 30,
    "distill.patience": 10,
    "report.baselines": "[]",
}

pytestmark = pytest.mark.slow


def done_as_shown(line: str, folder: Path, *more: str) -> None:
    program, *arguments = shlex.split(line)
    commands = {"python": [sys.executable], "rbm-models": [sys.executable, "-m", "rbm_bundle"]}
    command = commands.get(program, [sys.executable, "-m", "rbm_training"])
    arguments = [str(ROOT / word) if word.startswith("examples/") else word for word in arguments]
    subprocess.run([*command, *arguments, *more], cwd=folder, check=True, timeout=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the tutorial was followed up to the published model."""
    folder = tmp_path_factory.mktemp("tutorial")
    dependencies = [name for body in BODIES for name in body.get("neighbors", [[]])[0]]
    known = [name for body in BODIES for name in body.get("node_ids") or []]
    write_packages(folder / "Packages", 3000, list(dict.fromkeys([*dependencies, *known])))
    little = [word for key, value in LITTLE.items() for word in ("--set", f"{key}={value}")]
    more = {"python": ["--packages", "Packages"], "rbm-train run": little}
    for line in COMMANDS:
        done_as_shown(line, folder, *next((m for start, m in more.items() if line.startswith(start)), []))
    return folder


def test_the_model_knows_all_packages_and_is_not_behind_its_baseline(folder):
    assert read_bundle(folder / "models" / "debian" / "1").manifest.nodes.num_nodes == 3000
    report = json.loads((folder / "runs" / "debian" / "report.json").read_text())
    assert report["val_accuracy"] >= report["baseline_val_accuracy"]


def test_packages_that_are_known_and_one_that_nobody_has_seen_are_answered(folder):
    with running_server(folder / "models", folder / "log", model="debian") as server:
        answers = [server.classify(body)["predictions"][0] for body in BODIES]
        assert [answer["position"] for answer in answers] == ["cached", "neighbors"]
        assert answers[1]["label"] == "science"  # its words are those of made-up packages of that section
        program = PROGRAM.replace("http://localhost:8000", server.url)
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "3,000 packages" in done.stdout
