import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rbm_training.__main__ import main
from rbm_training.benchmark.plan import load_comparison, plan
from rbm_training.benchmark.records import ResultsFile
from rbm_training.benchmark.scheduler import compare

pytestmark = pytest.mark.slow


def lines_of(folder):
    """Every run without what differs from machine to machine."""
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return sorted(
        (
            {key: value for key, value in line.items() if key not in ("seconds", "git_commit")}
            for line in lines
        ),
        key=lambda line: (line["method"], line["seed"], line["setting"]),
    )


@pytest.fixture(scope="module")
def uninterrupted(data_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "comparison.toml"
    from tests.training.benchmark.conftest import COMPARISON

    path.write_text(COMPARISON.format(root=data_root))
    assert main(["compare", str(path), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_every_run_has_a_line_and_the_page_shows_them(uninterrupted):
    lines = lines_of(uninterrupted)
    assert [(line["method"], line["seed"]) for line in lines] == [
        ("glnn", 0),
        ("glnn", 1),
        ("rbm", 0),
        ("rbm", 1),
    ]
    for line in lines:
        assert line["teacher"] == "sage"
        assert line["test_accuracy"] <= line["test_accuracy_max"]
        assert line["unseen_accuracy"] is None
        assert 0 < line["agreement"] <= 1
        assert line["kl"] > 0
    assert lines[0]["teacher_test_accuracy"] == lines[2]["teacher_test_accuracy"]  # one teacher for both
    assert [len({line[f"{name}_digest"] for line in lines}) for name in ("config", "data")] == [2, 1]
    assert "| small |" in (uninterrupted / "results.md").read_text()


def test_a_comparison_killed_and_taken_up_again_ends_as_an_uninterrupted_one(
    uninterrupted, comparison, tmp_path
):
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "rbm_training", "compare", str(comparison), "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not ((folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().count(b"\n")):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    early = (folder / "results.jsonl").read_bytes()
    (folder / "results.jsonl").write_bytes(early + b'{"dataset": "sm')  # as if killed while it wrote
    assert 1 <= early.count(b"\n") < 4
    assert main(["compare", str(comparison), "--out", str(folder)]) == 0
    assert lines_of(folder) == lines_of(uninterrupted)
    assert (folder / "results.jsonl").read_bytes().startswith(early)


def test_what_is_done_is_not_done_again(uninterrupted, comparison, capfd):
    before = (uninterrupted / "results.jsonl").read_bytes()
    assert main(["compare", str(comparison), "--out", str(uninterrupted)]) == 0
    assert (uninterrupted / "results.jsonl").read_bytes() == before
    assert "4 of 4 runs are done already" in capfd.readouterr().err


def test_a_run_that_is_done_is_not_taken_for_one_that_is_configured_otherwise(
    uninterrupted, comparison, capfd
):
    before = (uninterrupted / "results.jsonl").read_bytes()
    otherwise = ["--set", "experiment.student.hidden=8", "--set", "methods=['rbm']"]
    assert main(["compare", str(comparison), "--out", str(uninterrupted), *otherwise]) == 1
    assert "which was configured otherwise then; wanted" in capfd.readouterr().err
    assert (uninterrupted / "results.jsonl").read_bytes() == before


def test_methods_that_come_to_one_student_have_one_run(comparison, tmp_path):
    folder = tmp_path / "out"
    overrides = ["seeds=[0]", "experiment.student={num_experts = 1, top_k = 1}"]

    def lines(*methods):
        config = load_comparison(comparison, [*overrides, f"methods={list(methods)}"])
        assert compare(plan(config), folder) == []
        return {line.method: line for line in ResultsFile(folder / "results.jsonl").read()}

    def without_name(line):
        return line.model_dump(exclude={"method", "planned_digest"})  # seconds included

    first = lines("mlp", "mlp-flops")
    assert without_name(first["mlp-flops"]) == without_name(first["mlp"])
    later = lines("mlp", "mlp-flops", "mlp-wide")
    assert without_name(later["mlp-wide"]) == without_name(first["mlp"])


def test_a_run_that_fails_is_named_and_takes_no_other_with_it(comparison, tmp_path, capfd):
    overrides = ["--set", "method.rbm.distill.learning_rate=1e30", "--set", "seeds=[0]"]
    assert main(["compare", str(comparison), "--out", str(tmp_path / "out"), *overrides]) == 1
    assert [line["method"] for line in lines_of(tmp_path / "out")] == ["glnn"]
    error = capfd.readouterr().err
    assert "rbm on small public transductive" in error
    assert "DivergedError" in error


def test_a_dataset_that_is_not_there_is_named_and_takes_no_other_with_it(comparison, tmp_path, capfd):
    overrides = ["--set", 'datasets=["smal", "small"]', "--set", 'methods=["glnn"]', "--set", "seeds=[0]"]
    assert main(["compare", str(comparison), "--out", str(tmp_path / "out"), *overrides]) == 1
    assert [line["dataset"] for line in lines_of(tmp_path / "out")] == ["small"]
    error = capfd.readouterr().err
    assert "GraphError: dataset 'smal': found no " in error
    assert 'did you mean "small"?' in error


def test_inductive_runs_say_what_unseen_nodes_get_and_what_production_sees(comparison, tmp_path):
    config = load_comparison(comparison, ['settings=["inductive"]', 'methods=["rbm"]', "seeds=[0]"])
    assert compare(plan(config), tmp_path / "out") == []
    (line,) = ResultsFile(tmp_path / "out" / "results.jsonl").read()
    assert line.unseen_accuracy == line.test_accuracy
    assert line.observed_test_accuracy is not None
    mixture = 0.2 * line.test_accuracy + 0.8 * line.observed_test_accuracy
    assert line.production_accuracy == pytest.approx(mixture)
    assert np.isfinite(line.flops_per_node)


def test_a_grid_is_run_timed_and_drawn(comparison, tmp_path, capfd):
    grid = '{"student.hidden" = [4, 8], "student.num_experts" = [2], "student.top_k" = [1, 3]}'
    overrides = [
        *("--set", "latency=true", "--set", 'methods=["mlp", "rbm"]', "--set", f"method.rbm.grid={grid}"),
        *("--set", 'method.mlp.grid={"student.hidden" = [2, 4, 8, 16]}'),
    ]
    assert main(["compare", str(comparison), "--out", str(tmp_path / "out"), *overrides]) == 0
    assert "left out, for want of experts: rbm H=4 E=2 K=3, rbm H=8 E=2 K=3" in capfd.readouterr().err
    lines = lines_of(tmp_path / "out")
    assert {line["method"] for line in lines if line["latency_us_128"]} == {
        *("mlp H=2", "mlp H=4", "mlp H=8", "mlp H=16", "rbm H=4 E=2 K=1", "rbm H=8 E=2 K=1")
    }
    assert {line["seed"] for line in lines if line["latency_us_1"]} == {0}
    page = (tmp_path / "out" / "results.md").read_text()
    assert "| small | rbm | H=" in page
    pictures = {f"](frontier/{path.name})" for path in (tmp_path / "out" / "frontier").iterdir()}
    assert len(pictures) == 6
    assert all(picture in page for picture in pictures)
