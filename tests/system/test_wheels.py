"""What `python -m pip wheel .` builds serves, and is asked, away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.bundles import TINY
from tests.servers import running_server

ROOT = Path(__file__).parents[2]
PACKAGES = [
    *(ROOT / "bundle" / "rbm_bundle", ROOT / "service" / "rbm_service", ROOT / "training" / "rbm_training"),
    ROOT / "clients" / "python" / "src" / "rbm_client",
]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]

pytestmark = pytest.mark.slow


def run(*command: object) -> str:
    return subprocess.run(
        [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, timeout=300
    ).stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of both distributions, built without the network."""
    folder = tmp_path_factory.mktemp("wheels")
    alone = ("--no-deps", "--no-index", "--no-build-isolation")
    run(*PIP, "wheel", *alone, "--wheel-dir", folder, ROOT, ROOT / "clients" / "python")
    return sorted(folder.glob("*.whl"))


@pytest.fixture
def installed(wheels, tmp_path, monkeypatch):
    """A folder with what the wheels hold, which comes before the checkout on the path."""
    target = tmp_path / "installed"
    run(*PIP, "install", "--no-deps", "--no-index", "--target", target, *wheels)
    monkeypatch.setenv("PYTHONPATH", str(target))
    monkeypatch.chdir(tmp_path)
    return target


def test_the_wheels_hold_every_file_of_the_packages(wheels):
    held = {name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()}
    files = {
        str(file.relative_to(package.parent))
        for package in PACKAGES
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "rbm_training/reporting/html/page.html" in files
    assert files <= held
    assert not [name for name in held if name.startswith(("tests/", "docs/"))]


def test_what_is_installed_publishes_serves_and_asks(installed, tmp_path):
    for package in ("rbm_bundle", "rbm_service", "rbm_client"):
        place = run(sys.executable, "-c", f"import {package}; print({package}.__file__)")
        assert place.startswith(str(installed))
    models, commands = tmp_path / "models", installed / "bin"
    run(commands / "rbm-models", "--models-dir", models, "publish", TINY, "--promote")
    with running_server(models, tmp_path / "log", [commands / "rbm-serve"]) as server:
        assert b"swagger" in server.get("/docs").lower()
        ask = f"print(Client({server.url!r}).classify(node_ids=[105]).labels[0])"
        assert run(sys.executable, "-c", f"from rbm_client import Client; {ask}").strip() == "blue"


def test_what_is_installed_writes_an_experiment_and_lists_data_sets(installed, tmp_path):
    assert "cora" in run(installed / "bin" / "rbm-train", "datasets")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "edges.csv").write_text("source,target\n1,2\n")
    run(installed / "bin" / "rbm-train", "init", "mine")
    assert (tmp_path / "mine" / "experiment.toml").exists()
