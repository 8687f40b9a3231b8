import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from rbm_bundle.bundle import read_bundle
from rbm_bundle.nodes import UNKNOWN
from rbm_training.__main__ import main
from rbm_training.config import load_config
from rbm_training.datasets.synthetic import generate_graph
from rbm_training.pipeline import run
from rbm_training.preparation import prepare
from tests.training.objects import SMALL_CONFIG, write_npz

pytestmark = pytest.mark.slow


def train(experiment, folder, *overrides):
    arguments = [word for override in overrides for word in ("--set", override)]
    return main(["run", str(experiment), "--out", str(folder), *arguments])


@pytest.fixture
def report(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run", "seeds=[0, 1]") == 0
    return json.loads((tmp_path / "run" / "report.json").read_text())


def test_a_run_reports_means_deviations_and_every_seed(report):
    assert report["seeds"] == [0, 1]
    runs = report["runs"]
    for name in ("test_accuracy", "teacher_test_accuracy", "val_accuracy", "unseen_accuracy"):
        values = [run[name] for run in runs]
        assert report[name] == pytest.approx(np.mean(values))
        assert report[f"{name}_std"] == pytest.approx(np.std(values, ddof=1))
    assert all(run["test_accuracy"] <= run["test_accuracy_max"] for run in runs)
    assert all(run["unseen_accuracy"] == run["test_accuracy"] for run in runs)
    for each in (report, *runs):
        mixed = 0.2 * each["unseen_accuracy"] + 0.8 * each["observed_test_accuracy"]
        assert each["production_accuracy"] == pytest.approx(mixed)
        assert (each["student"], each["num_parameters"]) == (
            "rbm",
            4 * (41 * 16 + 17 * 4) + 4 * (40 + 16) + 2,
        )
    assert len(report["expert_usage"]) == 2
    assert all(sum(layer) == pytest.approx(1) for layer in report["expert_usage"])


def test_the_seed_best_on_validation_is_exported(report, tmp_path):
    best = max(report["runs"], key=lambda run: run["val_accuracy"])["seed"]
    bundle = read_bundle(tmp_path / "run" / "bundle")
    assert report["exported_seed"] == bundle.manifest.provenance.seed == best
    assert report["bundle_id"] == bundle.manifest.bundle_id
    assert bundle.manifest.metrics.test_accuracy == pytest.approx(report["test_accuracy"])


def test_all_nodes_but_the_unseen_ones_are_in_the_bundle(report, tmp_path):
    bundle = read_bundle(tmp_path / "run" / "bundle")
    num_unseen = round(0.2 * (400 - 4 * 16))
    assert bundle.nodes.num_nodes == 400 - num_unseen
    assert bundle.nodes.id_kind == "integer"


def test_the_bundle_knows_observed_and_pseudo_unseen_nodes_as_training_placed_them(
    report, dataset, log, tmp_path
):
    nodes = read_bundle(tmp_path / "run" / "bundle").nodes
    prepared = prepare(SMALL_CONFIG, dataset, report["exported_seed"], log)
    task = prepared.task
    rows = nodes.rows_of(task.graph.node_ids[task.known_nodes].tolist())
    np.testing.assert_array_equal(nodes.positions_of(rows), prepared.known_positions)
    np.testing.assert_array_equal(nodes.features_of(rows), task.graph.dense_features()[task.known_nodes])
    assert (nodes.rows_of(task.graph.node_ids[task.unseen].tolist()) == UNKNOWN).all()


def test_the_run_folder_tells_how_it_came_to_be(report, tmp_path):
    folder = tmp_path / "run"
    assert load_config(folder / "config.toml").seeds == (0, 1)
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    stages = [event["stage"] for event in events if event["event"] == "stage_finished"]
    assert stages == ["teacher", "positions", "student rbm"] * 2
    assert {"dataset", "epoch", "seed", "bundle"} <= {event["event"] for event in events}


def test_the_page_of_a_run_shows_the_students_trained_beside_it(small_experiment, tmp_path):
    folder = tmp_path / "run"
    assert train(small_experiment, folder, 'report.beside=["glnn", "moe"]') == 0
    page = (folder / "report.html").read_text()
    assert all(f">{name}<" in page for name in ("rbm", "glnn", "moe"))
    assert "Unseen nodes" in page


def test_a_peer_that_cannot_be_is_refused_before_anything_is_trained(small_experiment, tmp_path, capsys):
    np.save(tmp_path / "answers.npy", np.zeros((400, 4), np.float32))
    teacher = f"teacher={{kind = 'precomputed', logits = '{tmp_path / 'answers.npy'}'}}"
    assert train(small_experiment, tmp_path / "run", teacher, "report.beside=['krd']") == 1
    assert "report.beside = 'krd'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_transductive_run_has_no_unseen_accuracy(small_experiment, tmp_path, capsys):
    assert train(small_experiment, tmp_path / "run", "dataset.setting=transductive") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["unseen_accuracy"] is None
    assert report["observed_test_accuracy"] is None
    assert report["production_accuracy"] is None
    assert report["test_accuracy_std"] is None
    assert "test nodes" in capsys.readouterr().out


def test_a_finished_run_is_never_overwritten(small_experiment, report, tmp_path, capsys):
    before = (tmp_path / "run" / "report.json").read_bytes()
    assert train(small_experiment, tmp_path / "run") == 1
    assert "found report.json of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.json").read_bytes() == before


def test_a_run_folder_in_use_is_refused_before_the_graph_is_read(small_experiment, tmp_path, capsys):
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    assert train(small_experiment, tmp_path / "run", "dataset.kind=files", "dataset.path=none.npz") == 1
    assert "found bundle of an earlier run" in capsys.readouterr().err


@pytest.mark.parametrize(("part", "model"), [("teacher", "GraphSage"), ("distill", "Student")])
def test_a_training_that_diverges_is_told_in_one_line(part, model, small_experiment, tmp_path, capsys):
    assert train(small_experiment, tmp_path / "run", f"{part}.learning_rate=1e30") == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"rbm-train: training of {model}: found a validation loss of nan at epoch")
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.fixture
def bag_of_words(small_config, tmp_path):
    """The small experiment on a generated graph whose features are mostly zeros."""
    graph = generate_graph(0)
    words = np.maximum(graph.features - np.quantile(graph.features, 0.9), 0)
    path = tmp_path / "words.npz"
    np.savez(path, edge_index=graph.edge_index, x=words, y=graph.labels)
    dataset = small_config.dataset.model_copy(update={"kind": "files", "path": path})
    return small_config.model_copy(update={"dataset": dataset})


def test_a_sparse_run_is_the_same_to_the_last_bit_for_a_seed(bag_of_words, tmp_path):
    first, second = (run(bag_of_words, tmp_path / name).bundle for name in ("one", "two"))
    assert first.manifest.features.form == "sparse"
    assert first.manifest.files["student.grouped.onnx"] == second.manifest.files["student.grouped.onnx"]


@pytest.mark.parametrize(
    ("teacher", "name", "words"),
    [
        ({"kind": "appnp", "members": 2}, "appnp-x2", "an APPNP teacher (an ensemble of 2 networks)"),
        ({"kind": "gat", "heads": 2}, "gat", "a GAT teacher on"),
        ({"kind": "gcn"}, "gcn", "a GCN teacher on"),
    ],
)
def test_other_teachers_are_distilled_too_and_named_in_report_and_card(
    teacher, name, words, bag_of_words, tmp_path
):
    config = bag_of_words.model_copy(update={"teacher": bag_of_words.teacher.model_copy(update=teacher)})
    result = run(config, tmp_path / "run")
    assert result.report.teacher == name
    assert result.report.runs[0].teacher_test_accuracy > 0.5  # four classes
    assert words in (result.bundle.path / "MODEL_CARD.md").read_text()
    log = (tmp_path / "run" / "log.jsonl").read_text()
    stages = {json.loads(line).get("stage") for line in log.splitlines()}
    assert ("teacher 2 of 2" in stages) == (name == "appnp-x2")


def test_positions_may_keep_the_scale_of_their_encoder(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run", "scaling.position_norm=none") == 0
    config = read_bundle(tmp_path / "run" / "bundle").manifest.provenance.config
    assert config["scaling"]["position_norm"] == "none"


def test_a_run_is_the_same_to_the_last_bit_for_a_seed(small_config, tmp_path):
    first, second = (run(small_config, tmp_path / name).bundle for name in ("one", "two"))
    for name in ("student.grouped.onnx", "student.dense.onnx", "positions.npy", "golden.npz"):
        assert first.manifest.files[name] == second.manifest.files[name], name


def test_a_run_without_positions_works(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run", 'positions={kind = "none"}') == 0
    assert read_bundle(tmp_path / "run" / "bundle").nodes.position_width == 0


def test_mistakes_are_told_in_one_line_and_leave_no_folder(small_experiment, tmp_path, capsys):
    assert train(small_experiment, tmp_path / "run", "student.hiden=3") == 1
    assert train(small_experiment, tmp_path / "run", "dataset.train_per_class=500") == 1
    assert train(small_experiment, tmp_path / "run", "dataset.kind=files", "dataset.path=none.npz") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert [line.split(":")[0] for line in errors] == ["rbm-train"] * 3
    assert "none.npz: found no file" in errors[2]
    assert not (tmp_path / "run").exists()


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
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "log.jsonl"]
    assert '"stopped"' in log.read_text()


def test_cora_reaches_its_accuracy(graph_data_root, tmp_path):
    experiment = "training/experiments/cora.toml"
    assert train(experiment, tmp_path / "run", f"dataset.root={graph_data_root}", "seeds=[0, 1, 2]") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["test_accuracy"] >= 0.81
    assert report["test_accuracy"] >= report["teacher_test_accuracy"] - 0.005
