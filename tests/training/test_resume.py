"""A run that is killed, changed or asked again makes only what is missing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rbm_bundle.bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.runtime.artifacts import STAGES
from tests.training.objects import SMALL_EXPERIMENT, train

pytestmark = pytest.mark.slow

# Ends itself as a SIGKILL from outside would: the work of a stage is done, and its artifact is not there yet.
KILLED = """
import os, signal, sys
from rbm_training.__main__ import main
from rbm_training.runtime.artifacts import ArtifactStore
stage, num_left, *arguments = sys.argv[1:]
left, get = [int(num_left)], ArtifactStore.get

def killing(self, name, key, make):
    def make_and_die():
        made = make()
        if name == stage:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        return made
    return get(self, name, key, make_and_die)

ArtifactStore.get = killing
main(arguments)
"""

# The same in the middle of a stage, after so many checkpoints of it.
KILLED_AT_WORK = """
import os, signal, sys
from rbm_training.__main__ import main
from rbm_training.runtime import checkpoint
from rbm_training.runtime.checkpoint import Checkpoint
num_left, *arguments = sys.argv[1:]
left, save = [int(num_left)], Checkpoint.save_if_due
checkpoint.SECONDS_BETWEEN_SAVES = 0.0

def killing(self):
    save(self)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.save_if_due = killing
main(arguments)
"""

MAIN = "import sys; from rbm_training.__main__ import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(autouse=True)
def _steady_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def kill_in(stage, num_made, experiment, folder, *overrides):
    run_and_die([KILLED, stage, num_made], experiment, folder, *overrides)


def run_and_die(program, experiment, folder, *overrides):
    options = [option for override in overrides for option in ("--set", override)]
    command = [sys.executable, "-c", *program, "run", experiment, "--out", folder, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=Path.cwd())
    assert done.returncode == -signal.SIGKILL, done.stderr


def bundle_id(folder):
    return read_bundle(folder / "bundle").manifest.bundle_id


def stages_of(folder):
    """The stages that were at work since the folder's log was last emptied."""
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [event["stage"] for event in events if event["event"] == "stage_started"]


def again(experiment, folder, *overrides):
    """Run once more, and say what stages were at work."""
    (folder / "log.jsonl").write_text("")
    assert train(experiment, folder, *overrides) == 0
    return stages_of(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bundle of the small experiment that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.toml").write_text(SMALL_EXPERIMENT)
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    assert train(folder / "small.toml", folder / "run") == 0
    return bundle_id(folder / "run")


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_was_killed_in_any_stage_ends_in_the_same_bundle(
    stage, small_experiment, undisturbed, tmp_path
):
    kill_in(stage, 1, small_experiment, tmp_path / "run")
    assert train(small_experiment, tmp_path / "run") == 0
    assert bundle_id(tmp_path / "run") == undisturbed
    assert (tmp_path / "run" / "report.html").exists()
    assert not list((tmp_path / "run").rglob(".incoming-*"))


def test_digits_killed_in_training_end_in_the_same_bundle(tmp_path):
    few = ("distill.max_epochs=10", "teacher.max_epochs=10", "report.baselines=[]")
    experiment = Path("training/experiments/digits.toml")
    assert train(experiment, tmp_path / "whole", *few) == 0
    kill_in("student", 1, experiment, tmp_path / "run", *few)
    assert again(experiment, tmp_path / "run", *few) == ["student rbm-head"]
    assert bundle_id(tmp_path / "run") == bundle_id(tmp_path / "whole")


@pytest.mark.parametrize(
    ("num_epochs", "going_on"), [(12, {"teacher": 12}), (42, {"student rbm": 12})]
)  # of 30 epochs of a teacher and as many of a student
def test_a_run_that_was_killed_at_work_goes_on_from_its_checkpoint(
    num_epochs, going_on, small_experiment, undisturbed, tmp_path
):
    run_and_die([KILLED_AT_WORK, num_epochs], small_experiment, tmp_path / "run")
    again(small_experiment, tmp_path / "run")
    assert bundle_id(tmp_path / "run") == undisturbed
    events = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {event["stage"]: event["done"] for event in events if event.get("done")} == going_on
    assert not list((tmp_path / "run" / "artifacts").glob("*.checkpoint"))


def test_seeds_that_are_done_are_not_trained_again(small_experiment, tmp_path):
    kill_in("student", 3, small_experiment, tmp_path / "run", "seeds=[0, 1, 2]")
    assert again(small_experiment, tmp_path / "run", "seeds=[0, 1, 2]") == ["student rbm"]


def test_a_finished_run_that_is_asked_again_makes_nothing(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run") == 0
    before = bundle_id(tmp_path / "run")
    assert again(small_experiment, tmp_path / "run") == []
    assert bundle_id(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ("routing.load_balance=0.5", ["student rbm"]),
        ("positions.width=4", ["walks", "positions", "student rbm"]),
        ("teacher.hidden=8", ["teacher", "student rbm"]),
        ("export.name=other", []),
        ("report.baselines=['mlp']", ["student mlp"]),
    ],
)
def test_a_change_makes_anew_what_depends_on_it(small_experiment, tmp_path, change, made):
    assert train(small_experiment, tmp_path / "run") == 0
    assert again(small_experiment, tmp_path / "run", change) == made


def test_a_stage_can_be_asked_for_again_with_all_that_follow(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run") == 0
    (tmp_path / "run" / "log.jsonl").write_text("")
    assert main(["run", str(small_experiment), "--out", str(tmp_path / "run"), "--from", "student"]) == 0
    assert stages_of(tmp_path / "run") == ["student rbm"]


@pytest.mark.parametrize(("command", "left"), [("report", "report.html"), ("export", "bundle/manifest.json")])
def test_report_and_bundle_are_made_from_a_finished_run_alone(small_experiment, tmp_path, command, left):
    assert train(small_experiment, tmp_path / "run") == 0
    before = bundle_id(tmp_path / "run")
    (tmp_path / "run" / left).unlink()
    (tmp_path / "run" / "log.jsonl").write_text("")
    assert main([command, str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / left).exists()
    assert (bundle_id(tmp_path / "run"), stages_of(tmp_path / "run")) == (before, [])


def test_the_graph_of_a_finished_run_is_there_when_its_source_has_gone(small_experiment, tmp_path):
    graph, source = generate_graph(0), tmp_path / "mine.npz"
    np.savez(source, edge_index=graph.edge_index, x=graph.features, y=graph.labels)
    own = ("dataset.kind=files", f"dataset.path={source}")
    assert train(small_experiment, tmp_path / "run", *own) == 0
    before = bundle_id(tmp_path / "run")
    source.unlink()
    assert main(["export", str(tmp_path / "run")]) == 0
    assert bundle_id(tmp_path / "run") == before


def test_a_run_that_is_not_finished_is_refused_by_its_seed(small_experiment, tmp_path, capsys):
    kill_in("student", 2, small_experiment, tmp_path / "run", "seeds=[0, 1]")
    assert main(["report", str(tmp_path / "run")]) == 1
    assert "found seed 1 not measured" in capsys.readouterr().err
    assert main(["export", str(tmp_path)]) == 1
    assert "found no artifacts" in capsys.readouterr().err


def test_a_full_disk_names_the_path_and_loses_no_finished_stage(small_experiment, tmp_path):
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)); {MAIN}"
    command = ["run", str(small_experiment), "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", limited, *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path / 'run'}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert train(small_experiment, tmp_path / "run") == 0


def test_a_run_is_reported_from_anywhere(small_experiment, tmp_path, monkeypatch):
    graph = generate_graph(0)
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", edge_index=graph.edge_index, x=graph.features, y=graph.labels)
    assert train(small_experiment, "run", "dataset.kind=files", "dataset.path=mine.npz") == 0
    before = bundle_id(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["export", "../run"]) == 0
    assert bundle_id(tmp_path / "run") == before


def test_a_run_whose_resolved_paths_are_relative_is_reported_from_its_working_directory(
    small_experiment, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("logits.npy", np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32))
    assert train(small_experiment, "run", "teacher={kind='precomputed', logits='logits.npy'}") == 0
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace(f"{tmp_path}/logits.npy", "logits.npy"))
    assert main(["report", "run"]) == 0


def test_an_export_that_fails_leaves_the_bundle(small_experiment, tmp_path, monkeypatch):
    assert train(small_experiment, tmp_path / "run") == 0
    before = bundle_id(tmp_path / "run")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rbm_training.pipeline.export_bundle", full)
    assert main(["export", str(tmp_path / "run")]) == 1
    assert bundle_id(tmp_path / "run") == before


@pytest.mark.parametrize("given", ["banana", "", "1.5", "99999999999999"])
def test_a_time_that_is_none_is_refused_in_one_line(small_experiment, tmp_path, monkeypatch, capsys, given):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    assert train(small_experiment, tmp_path / "run") == 1
    assert capsys.readouterr().err == (
        f"rbm-train: SOURCE_DATE_EPOCH: found {given!r}; wanted whole seconds since 1970\n"
    )
