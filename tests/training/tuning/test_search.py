import os
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib

import optuna
import pytest

from rbm_training.__main__ import main
from rbm_training.benchmark.plan import EXPERIMENTS
from rbm_training.config import ConfigError, load_config
from rbm_training.tuning.search import TuningError, _check_same_search
from rbm_training.tuning.space import load_tuning
from tests.training.objects import SMALL_EXPERIMENT

SEARCHES = sorted((EXPERIMENTS / "searches").glob("*.toml"))

SEARCH = """
experiment = "small.toml"
num_trials = 6
seeds = [0, 1]

[overrides.distill]
max_epochs = 10

[space."student.num_experts"]
choices = [1, 2, 4]
per_layer = true

[space."distill.temperature"]
low = 0.5
high = 2.0
log = true
"""


@pytest.fixture
def search(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL_EXPERIMENT)
    path = tmp_path / "search.toml"
    path.write_text(SEARCH)
    return path


def trials_of(folder):
    """Number, state, values and parameters of every trial that was finished."""
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder / 'study.db'}")
    finished = study.get_trials(states=[optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED])
    return [(trial.state, trial.params, trial.intermediate_values) for trial in finished]


@pytest.mark.slow
def test_a_search_killed_and_taken_up_again_ends_as_an_uninterrupted_one(search, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["tune", str(search), "--out", str(whole)]) == 0
    command = [sys.executable, "-m", "rbm_training", "tune", str(search), "--out", str(broken)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while num_finished(broken) < 2:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert num_finished(broken) < 6
    assert main(["tune", str(search), "--out", str(broken)]) == 0
    assert trials_of(broken) == trials_of(whole)
    assert (broken / "best.toml").read_bytes() == (whole / "best.toml").read_bytes()


def num_finished(folder):
    if not (folder / "study.db").exists():
        return 0
    try:
        with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as connection:
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            ).fetchone()
    except sqlite3.OperationalError:  # not yet laid out
        return 0
    finally:
        if "connection" in locals():
            connection.close()
    return int(count)


@pytest.mark.slow
def test_the_best_experiment_is_the_trial_best_on_validation_and_can_be_run(search, tmp_path, capfd):
    folder = tmp_path / "out"
    assert main(["tune", str(search), "--out", str(folder), "--set", "num_trials=3"]) == 0
    complete = [trial for trial in trials_of(folder) if trial[0] == optuna.trial.TrialState.COMPLETE]
    best = max(complete, key=lambda trial: trial[2][2])
    config = load_config(folder / "best.toml")
    layers = [best[1][f"student.num_experts of layer {layer}"] for layer in range(2)]
    assert list(config.student.num_experts) == layers
    assert config.distill.temperature == best[1]["distill.temperature"]
    assert config.distill.max_epochs == 10
    assert set(tomllib.loads((folder / "best.toml").read_text())["distill"]) == {
        *("temperature", "max_epochs", "warmup_epochs")
    }  # what nobody set is left to the defaults
    assert "trial 3 of 3" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("space={}", "space: .*a table of at least 1"),
        ("space.distill={choices = [1]}", "choices: found .*; wanted a list of at least 2"),
        ("space.distill={low = 1}", "found neither or both"),
        ("space.distill={low = 2, high = 1}", "found low = 2 and high = 1; wanted low < high"),
        ("trials=3", 'trials: found an unknown key; did you mean "num_trials"'),
        ("overrides.distill.temprature=2", r"small\.toml: distill\.temprature: found an unknown key"),
        ("experiment=none.toml", r"none\.toml: No such file"),
    ],
)
def test_a_search_that_cannot_be_is_refused_by_name(search, override, message):
    with pytest.raises(ConfigError, match=message):
        load_tuning(search, [override])


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
def test_a_shipped_search_varies_fields_that_its_experiment_has(path):
    search = load_tuning(path)
    experiment = load_config(search.experiment).model_dump()
    for field in search.space:
        part, name = field.split(".")
        assert name in experiment[part]


def test_a_value_that_no_experiment_takes_is_refused_by_name(search, tmp_path, capsys):
    search.write_text(SEARCH + '\n[space."student.hidden"]\nlow = -8\nhigh = -1\n')
    assert main(["tune", str(search), "--out", str(tmp_path / "out")]) == 1
    assert "wanted at least 1" in capsys.readouterr().err


def test_a_field_that_no_experiment_has_is_refused_before_the_search(search, tmp_path, capsys):
    search.write_text(SEARCH + '\n[space."student.hiden"]\nlow = 8\nhigh = 16\n')
    assert main(["tune", str(search), "--out", str(tmp_path / "out")]) == 1
    assert """found 'student.hiden'; wanted a field of an experiment; did you mean "student.hidden"?""" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_fields_that_do_not_fit_together_cost_a_trial_and_not_the_search(search, tmp_path, capsys):
    search.write_text(
        SEARCH.replace("num_trials = 6", "num_trials = 8").replace("seeds = [0, 1]", "seeds = [0]")
    )
    fields = '[space."student.top_k"]\nchoices = [1, 4]\n'
    search.write_text(search.read_text() + fields)
    assert main(["tune", str(search), "--out", str(tmp_path / "out")]) == 0
    trials = trials_of(tmp_path / "out")
    unfit = [
        params["student.top_k"] > max(params[f"student.num_experts of layer {i}"] for i in range(2))
        for _, params, _ in trials
    ]
    assert 0 < sum(unfit) < len(trials) == 8
    assert [not steps for _, _, steps in trials] == unfit
    assert "given up, " in (told := capsys.readouterr().err)
    assert "found student.top_k = 4 and no layer of more than" in told


def test_a_search_goes_on_where_its_data_have_moved(search, tmp_path):
    config, out = load_tuning(search), tmp_path / "out"
    out.mkdir()
    for path in ("/here/mine.npz", "/there/mine.npz"):
        _check_same_search(config, {"dataset": {"path": path}}, out)
    with pytest.raises(TuningError, match="found another search"):
        _check_same_search(config, {"dataset": {"path": "/there/other.npz"}}, out)


@pytest.mark.slow
def test_another_search_does_not_go_on_in_the_same_folder(search, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out"), "--set", "num_trials=1"]
    assert main(["tune", str(search), *out]) == 0
    assert main(["tune", str(search), *out, "--set", "seeds=[5]"]) == 1
    assert "found another search in search.toml; wanted a new folder" in capsys.readouterr().err
