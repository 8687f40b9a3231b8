"""The commands of `rbm-train`, and what becomes of mistakes and interrupts."""

import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial

import numpy as np
import pytest

from rbm_training.__main__ import main
from tests.training.objects import train, write_npz

pytestmark = pytest.mark.slow


def test_a_baseline_that_cannot_be_is_refused_before_anything_is_trained(small_experiment, tmp_path, capsys):
    np.save(tmp_path / "predictions.npy", np.zeros((400, 4), np.float32))
    teacher = f"teacher={{kind = 'precomputed', logits = '{tmp_path / 'predictions.npy'}'}}"
    assert train(small_experiment, tmp_path / "run", teacher, "report.baselines=['krd']") == 1
    assert "report.baselines = 'krd'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_bundle_is_refused_before_the_graph_is_read(small_experiment, tmp_path, capsys):
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    assert train(small_experiment, tmp_path / "run", "dataset.kind=files", "dataset.path=none.npz") == 1
    assert "found bundle of an earlier run" in capsys.readouterr().err


@pytest.mark.parametrize(("part", "model"), [("teacher", "GraphSage"), ("distill", "Student")])
def test_a_training_that_diverges_is_told_in_one_line(part, model, small_experiment, tmp_path, capsys):
    assert train(small_experiment, tmp_path / "run", f"{part}.learning_rate=1e30") == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"rbm-train: training of {model}: found a validation loss of nan at epoch")
    assert not (tmp_path / "run" / "bundle").exists()


def test_mistakes_are_told_in_one_line_and_leave_no_folder(small_experiment, tmp_path, capsys):
    assert train(small_experiment, tmp_path / "run", "student.hiden=3") == 1
    assert train(small_experiment, tmp_path / "run", "dataset.train_fraction=0.5") == 1
    assert train(small_experiment, tmp_path / "run", "dataset.kind=files", "dataset.path=none.npz") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert [line.split(":")[0] for line in errors] == ["rbm-train"] * 3
    assert "none.npz: found no file" in errors[2]
    assert not (tmp_path / "run").exists()


def test_an_old_name_of_a_field_is_told_in_one_line(small_experiment, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["datasets", str(small_experiment), "--set", "routing.momentum=0.5"]) == 0
    told = "rbm-train: momentum is called ema_decay now, and only so from the next release on"
    assert told in capsys.readouterr().err.splitlines()


def test_a_run_folder_that_is_a_file_is_told_in_one_line(small_experiment, tmp_path, capsys):
    (tmp_path / "run").write_text("")
    assert train(small_experiment, tmp_path / "run") == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("rbm-train: ")


def test_show_and_datasets_print_tables(small_experiment, report, tmp_path, capsys):
    assert main(["show", str(tmp_path / "run")]) == 0
    assert "unseen nodes" in capsys.readouterr().out
    assert main(["datasets", str(small_experiment)]) == 0
    assert "400" in capsys.readouterr().out
    assert main(["show", str(tmp_path)]) == 1
    assert "found no readable report" in capsys.readouterr().err


def test_named_sets_are_listed_with_where_they_are_read_from(tmp_path, capsys):
    write_npz(tmp_path / "cora.npz")
    write_npz(tmp_path / "mine.npz")
    (tmp_path / "ogbn_arxiv").mkdir()
    assert main(["datasets", "--root", str(tmp_path)]) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    for row in (
        ["cora", "cora.npz"],
        ["mine", "mine.npz"],
        ["ogbn-arxiv", "ogbn_arxiv"],
        ["ogbn-products", "not", "there:", "downloaded", "on", "first", "use"],
    ):
        assert row in lines


def test_options_that_nothing_would_read_are_refused(small_experiment, tmp_path, capsys):
    assert main(["datasets", "--set", "dataset.name=cora"]) == 1
    assert "found --set without FILE" in capsys.readouterr().err
    assert main(["datasets", str(small_experiment), "--root", str(tmp_path)]) == 1
    assert "wanted --set dataset.root=DIR" in capsys.readouterr().err


def test_an_interrupt_leaves_no_half_bundle(small_experiment, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "rbm_training", "run", str(small_experiment), "--out", str(folder)]
    endless = ["--set", "distill.max_epochs=1000000", "--set", "distill.patience=1000000"]
    process = subprocess.Popen(
        [*command, *endless],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored
    )
    try:
        log = folder / "log.jsonl"
        while not log.exists() or '"epoch"' not in log.read_text():
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted; the run is unfinished" in errors
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "artifacts",
        "config.toml",
        "log.jsonl",
    ]
    assert '"stopped"' in log.read_text()
