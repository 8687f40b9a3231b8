import json

import numpy as np
import pytest

from rbm_bundle.bundle import read_bundle
from rbm_bundle.nodes import UNKNOWN
from rbm_training.config import load_config
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.pipeline import run
from rbm_training.reporting.html import PAGE_FILE
from tests.training.objects import SMALL_CONFIG, train


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
    metrics = bundle.manifest.metrics
    (exported,) = (run for run in report["runs"] if run["seed"] == best)
    assert (metrics.test_accuracy, metrics.val_accuracy) == (
        exported["test_accuracy"],
        exported["val_accuracy"],
    )
    assert (metrics.test_accuracy_mean, metrics.test_accuracy_std, metrics.num_runs) == (
        report["test_accuracy"],
        report["test_accuracy_std"],
        2,
    )
    assert report["shares_validation"] is False  # every seed draws its own nodes


def test_how_nodes_without_a_known_neighbour_fare_is_told_everywhere(
    small_experiment, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("rbm_training.evaluation.without_neighbors.TOLERATED", -1.0)
    assert train(small_experiment, tmp_path / "run") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    metrics = read_bundle(tmp_path / "run" / "bundle").manifest.metrics
    for who in ("", "baseline_"):
        for group in ("val", "test"):
            name = f"{who}{group}_accuracy_without_neighbors"
            assert report[name] == getattr(metrics, name)
    assert report["baseline_test_accuracy_without_neighbors"] == report["baseline_test_accuracy"]
    page, told = (tmp_path / "run" / PAGE_FILE).read_text(), capsys.readouterr().err
    assert "unseen nodes, no neighbour known" in page
    for place in (" ".join(report["advice"]), page, " ".join(told.split())):
        assert "set distill.position_dropout = 0.1" in place


def test_all_nodes_but_the_unseen_ones_are_in_the_bundle(report, tmp_path):
    bundle = read_bundle(tmp_path / "run" / "bundle")
    num_unseen = round(0.2 * (400 - 4 * 16))
    assert bundle.nodes.num_nodes == 400 - num_unseen
    assert bundle.nodes.id_kind == "integer"


def test_the_bundle_knows_observed_and_pseudo_unseen_nodes_as_training_placed_them(
    report, dataset, log, tmp_path
):
    nodes = read_bundle(tmp_path / "run" / "bundle").nodes
    data = prepare_training_data(SMALL_CONFIG, dataset, report["exported_seed"], log)
    task = data.task
    rows = nodes.rows_of(task.graph.node_ids[task.known_nodes].tolist())
    np.testing.assert_array_equal(nodes.positions_of(rows), data.known_positions)
    np.testing.assert_array_equal(nodes.features_of(rows), task.graph.dense_features()[task.known_nodes])
    assert (nodes.rows_of(task.graph.node_ids[task.unseen].tolist()) == UNKNOWN).all()


def test_the_bundle_of_a_run_has_a_map_of_the_nodes_that_it_knows(report, tmp_path):
    bundle = read_bundle(tmp_path / "run" / "bundle")
    spec, found = bundle.manifest.map, bundle.node_map
    assert found.rows.tolist() == list(range(bundle.nodes.num_nodes))
    assert (spec.layer, spec.has_experts) == (1, True)
    assert set(found.experts) == set(range(bundle.manifest.architecture.num_experts[1]))


def test_the_run_folder_tells_how_it_came_to_be(report, tmp_path):
    folder = tmp_path / "run"
    assert load_config(folder / "config.toml").seeds == (0, 1)
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    stages = [event["stage"] for event in events if event["event"] == "stage_finished"]
    assert stages == ["teacher", "walks", "positions", "student rbm"] * 2
    assert {"dataset", "epoch", "seed", "bundle"} <= {event["event"] for event in events}
    read = next(event for event in events if event["event"] == "dataset")
    assert {name: read[name] for name in report["graph"]} == report["graph"]
    assert (read["dataset"], read["num_nodes"], read["num_edges"]) == ("synthetic", 400, 1531)
    assert "connected components" in (folder / "report.html").read_text()


def test_the_page_of_a_run_shows_the_students_trained_beside_it(small_experiment, tmp_path):
    folder = tmp_path / "run"
    assert train(small_experiment, folder, 'report.baselines=["glnn", "moe"]') == 0
    page = (folder / "report.html").read_text()
    assert all(f">{name}<" in page for name in ("rbm", "glnn", "moe"))
    assert "Unseen nodes" in page


def test_a_transductive_run_has_no_unseen_accuracy(small_experiment, tmp_path, capsys):
    assert train(small_experiment, tmp_path / "run", "dataset.setting=transductive") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["unseen_accuracy"] is None
    assert report["observed_test_accuracy"] is None
    assert report["production_accuracy"] is None
    assert report["test_accuracy_std"] is None
    assert "test nodes" in capsys.readouterr().out


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
    assert first.manifest.provenance.config["dataset"]["path"] == "words.npz"  # wherever it lay
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
    manifest = read_bundle(tmp_path / "run" / "bundle").manifest
    assert (manifest.nodes.position_width, manifest.metrics.test_accuracy_without_neighbors) == (0, None)


def test_cora_reaches_its_accuracy(graph_data_root, tmp_path):
    experiment = "training/experiments/cora.toml"
    assert train(experiment, tmp_path / "run", f"dataset.root={graph_data_root}", "seeds=[0, 1, 2]") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["test_accuracy"] >= 0.81
    assert report["test_accuracy"] >= report["teacher_test_accuracy"] - 0.005
