"""`rbm-train init`, `check` and `datasets`: from the files of a graph to what a run would read."""

import tomllib

import numpy as np
import pytest

from rbm_training.__main__ import main
from rbm_training.config import load_config
from rbm_training.data.builtin.synthetic import generate_graph
from tests.training.data.readers.tables import write_table
from tests.training.objects import write_npz
from tests.training.test_imports import ends_of


@pytest.fixture
def folder(tmp_path):
    """A graph in CSV, some of whose edges say nothing new."""
    graph, folder = generate_graph(0), tmp_path / "my cities"
    edges = np.concatenate([graph.edge_index, [[5, 5], [5, 5]]], axis=1)
    write_table({"source": edges[0], "target": edges[1]}, folder / "edges.csv")
    columns = {f"f{place}": graph.features[:, place] for place in range(4)}
    labels = {"label": [graph.class_names[label] for label in graph.labels]}
    write_table({"node_id": graph.node_ids} | columns | labels, folder / "nodes.csv")
    return folder


def test_a_first_experiment_is_written_checked_and_not_overwritten(folder, capsys, monkeypatch):
    assert main(["init", str(folder)]) == 0
    assert "experiment.toml" in capsys.readouterr().out
    monkeypatch.chdir("/")
    assert main(["check", str(folder / "experiment.toml")]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "400, 1 without an edge" in told
    assert "1,531, undirected, of 3,064 given; left out: 1,531 that are there" in told
    assert "2 self-loops" in told
    assert "0 240 80 80 0 0" in told  # of seed 0: training, validation, test
    assert "10 of a teacher, 3 of a student; the chosen once more, on all labels" in told
    written = (folder / "experiment.toml").read_text()
    assert main(["init", str(folder)]) == 1
    assert "experiment.toml: found an experiment; wanted a folder without one" in capsys.readouterr().err
    assert (folder / "experiment.toml").read_text() == written


def test_a_check_names_baselines_that_the_choice_of_a_student_does_not_train(folder, capsys):
    main(["init", str(folder)])
    alone = ["--set", "student.kind=rbm-head", "--set", "export.refit=false"]
    assert main(["check", str(folder / "experiment.toml"), *alone]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "10 of a teacher, 1 of a student, mlp beside it threads" in told


def test_what_stands_in_comments_is_an_experiment_too(folder):
    main(["init", str(folder)])
    text = (folder / "experiment.toml").read_text()
    of_another_kind = ('# kind = "precomputed"', "# logits", "# time_column")
    lines = [line for line in text.splitlines() if not line.startswith(of_another_kind)]
    uncommented = [line.removeprefix("# ") if " = " in line else line for line in lines]
    (folder / "all.toml").write_text("\n".join(uncommented))
    config = load_config(folder / "all.toml")
    assert (config.name, config.seeds, config.teacher.kind) == ("my-cities", (0, 1, 2), "gcn")
    assert config.dataset.setting == "inductive"


def test_a_check_names_the_column_that_drowns_the_others(tmp_path, capsys):
    graph = generate_graph(0)
    scales = {"age": 1, "income": 1e9, "height": 1}
    columns = {name: scale * graph.features[:, place] for place, (name, scale) in enumerate(scales.items())}
    labels = {"label": [graph.class_names[label] for label in graph.labels]}
    write_table({"node_id": graph.node_ids} | columns | labels, tmp_path / "nodes.csv")
    write_table(dict(zip(("source", "target"), graph.edge_index, strict=True)), tmp_path / "edges.csv")
    main(["init", str(tmp_path)])
    for override, told in (("auto", "columns are standardised"), ("l2", "set scaling.features")):
        experiment = [str(tmp_path / "experiment.toml"), "--set", f"scaling.features={override}"]
        assert main(["check", *experiment]) == 0
        out = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "feature income: so large" in out
        assert told in out


def test_of_several_graphs_the_first_is_taken_and_the_others_named(tmp_path):
    for name in ("b.npz", "a b.npz"):
        write_npz(tmp_path / name)
    assert main(["init", str(tmp_path)]) == 0
    text = (tmp_path / "experiment.toml").read_text()
    assert tomllib.loads(text)["dataset"] == {"kind": "files", "path": "a b.npz"}
    assert '# path = "b.npz"' in text


def test_a_folder_without_a_graph_gets_no_experiment(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 1
    assert main(["init", str(tmp_path / "none")]) == 1
    told = capsys.readouterr().err
    assert "found no graph; wanted an .npz" in told
    assert "none: found no folder" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.train_fraction=0.9", "and dataset.val_fraction = 0.2; wanted a sum below 1"),
        ("dataset.path=none.npz", "none.npz: found no file"),
        ("setings=3", 'did you mean "dataset.setting"?'),
        ("teacher={kind='precomputed', logits='none.npy'}", "none.npy: found no file"),
    ],
)
def test_what_could_not_start_is_told_with_its_reason(folder, capsys, override, message):
    main(["init", str(folder)])
    assert main(["check", str(folder / "experiment.toml"), "--set", override]) == 1
    assert message in capsys.readouterr().err


def test_a_baseline_that_cannot_be_is_told_by_a_check(folder, capsys):
    main(["init", str(folder)])
    np.save(folder / "logits.npy", np.zeros((400, 4), np.float32))
    teacher = f"teacher={{kind = 'precomputed', logits = '{folder / 'logits.npy'}'}}"
    overrides = ["--set", teacher, "--set", "report.baselines=['krd']"]
    assert main(["check", str(folder / "experiment.toml"), *overrides]) == 1
    assert "report.baselines = 'krd'" in capsys.readouterr().err


def test_a_check_imports_nothing_that_trains(folder):
    commands = [["init", "."], ["check", "experiment.toml"], ["datasets", "experiment.toml"]]
    ends = ends_of(commands, folder)
    assert [status for status, _ in ends] == [0, 0, 0]
    assert not {"torch", "torch_geometric", "onnx", "gensim"} & set(ends[-1][1])


def test_a_class_that_only_test_nodes_have_is_told_by_its_name(tmp_path, capsys):
    graph = generate_graph(0)
    labels = [graph.class_names[label] for label in graph.labels]
    labels[399] = "rare"
    columns = {"label": labels, "split": ["train"] * 200 + ["val"] * 100 + ["test"] * 100}
    write_table({"node_id": graph.node_ids} | columns, tmp_path / "nodes.csv")
    write_table(dict(zip(("source", "target"), graph.edge_index, strict=True)), tmp_path / "edges.csv")
    main(["init", str(tmp_path)])
    assert main(["check", str(tmp_path / "experiment.toml")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "split: published with the graph" in told
    assert "seed 0: class 'rare' has no training label, so its 1 test node cannot be right" in told
