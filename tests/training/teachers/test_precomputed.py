import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rbm_bundle.bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.config import DatasetConfig, load_config
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.loading import load_dataset
from rbm_training.teachers.precomputed import read_logits, teacher_from_logits
from tests.training.objects import CPU, SMALL_EXPERIMENT, write_npz


@pytest.fixture
def answers(data):
    """Logits of the GraphSAGE teacher of the small experiment's seed 0; zeros where it was not asked."""
    task, teacher = data.task, data.teacher
    logits = np.zeros((task.graph.num_nodes, task.graph.num_classes), np.float32)
    logits[task.observed_nodes] = teacher.logits.cpu().numpy()
    logits[task.unseen] = teacher.unseen_logits.cpu().numpy()
    return logits


def distil_from(path: Path, folder: Path):
    """Run the small experiment with saved logits."""
    experiment = folder.with_suffix(".toml")
    teacher = f'[teacher]\nkind = "precomputed"\nlogits = "{path}"\n'
    experiment.write_text(SMALL_EXPERIMENT.replace("[teacher]\nhidden = 16\nmax_epochs = 30\n", teacher))
    assert load_config(experiment).teacher.kind == "precomputed"
    assert main(["run", str(experiment), "--out", str(folder)]) == 0
    return json.loads((folder / "report.json").read_text())


def test_the_saved_answers_of_a_teacher_are_distilled_to_a_bundle_from_either_form(answers, data, tmp_path):
    order = np.random.default_rng(0).permutation(len(answers))
    np.save(tmp_path / "answers.npy", answers)
    np.savez(tmp_path / "answers.npz", logits=answers[order].astype(np.float64), node_ids=order)
    reports = [distil_from(tmp_path / f"answers.{form}", tmp_path / f"run-{form}") for form in ("npy", "npz")]
    bundles = [read_bundle(tmp_path / f"run-{form}" / "bundle") for form in ("npy", "npz")]
    assert (
        bundles[0].manifest.files["student.grouped.onnx"] == bundles[1].manifest.files["student.grouped.onnx"]
    )
    labels, task = data.task.graph.labels, data.task
    for report in reports:
        right = answers[task.unseen].argmax(axis=1) == labels[task.unseen]
        assert report["teacher_unseen_accuracy"] == pytest.approx(right.mean())
        assert report["val_accuracy"] > 0.6
        assert report["teacher"] == "precomputed"
    assert bundles[0].manifest.provenance.config["teacher"]["kind"] == "precomputed"
    assert "the saved logits of a teacher" in (tmp_path / "run-npy" / "bundle" / "MODEL_CARD.md").read_text()


def test_a_run_is_answered_for_its_observed_and_its_unseen_nodes(answers, data):
    result = teacher_from_logits(answers, data.task, data.teacher.logits.device)
    assert torch.equal(result.logits, data.teacher.logits)
    assert torch.equal(result.unseen_logits, data.teacher.unseen_logits)
    assert result.entropy_shift is None


EDGES = np.array([[1, 2, 4, 0], [2, 4, 5, 3]])  # nodes 1, 2, 4, 5 hang together, and 0, 3
LOGITS = np.arange(12, dtype=np.float32).reshape(6, 2)


@pytest.fixture
def component(tmp_path) -> Dataset:
    write_npz(tmp_path / "mine.npz", edge_index=EDGES, y=np.array([0, 1, 0, 1, 1, 0]))
    return load_dataset(DatasetConfig(kind="named", name="mine", root=tmp_path))


def test_rows_of_a_graph_that_was_cut_are_those_of_its_source(component, tmp_path):
    np.save(tmp_path / "answers.npy", LOGITS)
    np.savez(tmp_path / "answers.npz", logits=LOGITS)
    for form in ("npy", "npz"):
        read = read_logits(tmp_path / f"answers.{form}", component)
        np.testing.assert_array_equal(read, LOGITS[[1, 2, 4, 5]])


def test_ids_find_their_rows_in_any_order_and_among_others(component, tmp_path):
    ids = np.array([5, 7, 1, 4, 2])
    np.savez(tmp_path / "answers.npz", logits=LOGITS[:5], node_ids=ids)
    read = read_logits(tmp_path / "answers.npz", component)
    np.testing.assert_array_equal(read, LOGITS[[2, 4, 3, 0]])


def test_ids_may_be_strings(tmp_path, small_config):
    graph = load_dataset(small_config.dataset).graph
    names = np.array([f"node {index}" for index in range(graph.num_nodes)])
    named = Dataset(replace(graph, node_ids=names))
    logits = np.random.default_rng(0).standard_normal((len(names), 4))
    np.savez(tmp_path / "answers.npz", logits=logits[::-1], node_ids=np.char.encode(names[::-1]))
    np.testing.assert_array_equal(read_logits(tmp_path / "answers.npz", named), logits.astype(np.float32))


RING = np.stack([np.arange(20), np.roll(np.arange(20), 1)])
PATH = np.array([[20, 21, 22], [21, 22, 23]])  # apart from the ring
PUBLISHED = {
    "train_mask": np.arange(24) < 4,
    "val_mask": np.arange(24) == 4,
    "test_mask": np.isin(np.arange(24), [7, 11, 15, 22]),
}


@pytest.fixture(params=["test mask", "share", "share of the largest component"])
def held_out(request, tmp_path) -> tuple[Dataset, DatasetConfig]:
    """A graph under shuffled ids, and how its unseen nodes come about."""
    file = tmp_path / "mine.npz"
    ids = 100 + np.random.default_rng(0).permutation(24)
    edges = np.concatenate([RING, PATH], axis=1)
    masks = PUBLISHED if request.param == "test mask" else {}
    x = np.eye(24, dtype=np.float32)
    write_npz(file, edge_index=edges, x=x, y=np.arange(24) % 2, node_ids=ids, **masks)
    cut = request.param == "share of the largest component"
    source = {"kind": "named", "name": "mine", "root": tmp_path} if cut else {"kind": "files", "path": file}
    config = DatasetConfig(**source, setting="inductive", train_per_class=2, val_per_class=2)
    dataset = load_dataset(config)
    assert dataset.graph.num_nodes == (20 if cut else 24)
    return dataset, config


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_node_gets_its_own_answer_however_the_unseen_ones_were_held_out(
    held_out, by_id, seed, tmp_path
):
    dataset, config = held_out
    with np.load(tmp_path / "mine.npz") as arrays:
        ids = arrays["node_ids"]
    answers = np.stack([ids, -ids], axis=1).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(ids))
    if by_id:
        np.savez(tmp_path / "answers.npz", logits=answers[order], node_ids=ids[order])
    else:
        np.savez(tmp_path / "answers.npz", logits=answers)
    task = dataset.task(config, seed)
    result = teacher_from_logits(read_logits(tmp_path / "answers.npz", dataset), task, CPU)
    np.testing.assert_array_equal(result.logits[:, 0], task.observed.node_ids)
    np.testing.assert_array_equal(result.unseen_logits[:, 0], task.graph.node_ids[task.unseen])
    assert len(task.unseen) > 0
    assert result.entropy_shift is None
    assert result.representations is None


IDS = np.arange(6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS[:4]}, r"logits of shape \(4, 2\) .* wanted shape \(6, 2\)"),
        ({"logits": LOGITS[:, :1]}, r"logits of shape \(6, 1\)"),
        ({"logits": LOGITS.astype(int)}, "type int64; wanted shape .* float"),
        ({"logits": LOGITS + np.nan}, r"logits\[0, 0\] = nan; wanted finite"),
        ({"logits": np.full((6, 2), -np.inf)}, r"logits\[0, 0\] = -inf"),
        ({"answers": LOGITS}, "unknown keys answers"),
        ({"node_ids": IDS}, "no logits"),
        ({"logits": LOGITS, "node_ids": IDS[:5]}, r"node_ids of shape \(5\)"),
        ({"logits": LOGITS, "node_ids": IDS // 2}, "node id 0 twice"),
        ({"logits": LOGITS, "node_ids": IDS.astype(str)}, "node_ids of type <U.*; wanted int64"),
        (
            {"logits": LOGITS, "node_ids": IDS + 2},
            "no logits for 1 nodes, among them 1; wanted a row for every",
        ),
        ({"logits": LOGITS[:0], "node_ids": IDS[:0]}, "no logits for 4 nodes"),
    ],
)
def test_answers_that_do_not_fit_the_graph_are_refused_by_name(component, tmp_path, arrays, message):
    path = tmp_path / "answers.npz"
    np.savez(path, **arrays)
    with pytest.raises(GraphError, match=message) as raised:
        read_logits(path, component)
    assert str(path) in str(raised.value)


def test_a_bare_array_that_does_not_fit_is_refused(component, tmp_path):
    path = tmp_path / "answers.npy"
    np.save(path, LOGITS[:4])
    with pytest.raises(GraphError, match=r"the array of shape \(4, 2\)"):
        read_logits(path, component)
    np.save(path, np.array([None]), allow_pickle=True)
    with pytest.raises(GraphError, match="no pickled objects"):
        read_logits(path, component)


def test_answers_that_are_not_there_leave_no_run_folder(small_experiment, tmp_path, capsys):
    small_experiment.write_text(SMALL_EXPERIMENT.replace("hidden = 16\nmax_epochs = 30\n", "", 1))
    overrides = ["--set", "teacher.kind=precomputed", "--set", f"teacher.logits={tmp_path / 'none.npy'}"]
    assert main(["run", str(small_experiment), "--out", str(tmp_path / "run"), *overrides]) == 1
    assert "none.npy: found no file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
