"""From the files of a graph of one's own to its bundle: divided by a column, classes merged and weighted."""

import json

import numpy as np
import pytest

from rbm_bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.config import load_config
from rbm_training.data import column_features
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.loading import load_dataset
from tests.training.column_tables import MIXED_EXPERIMENT, write_mixed
from tests.training.data.readers.tables import write_table
from tests.training.objects import SMALL_EXPERIMENT, train

OWN_EXPERIMENT = (
    SMALL_EXPERIMENT.replace('kind = "synthetic"', 'kind = "files"\npath = "."')
    .replace("train_per_class = 8\nval_per_class = 8", "{fields}")
    .replace("[teacher]", '[teacher]\nkind = "gcn"')
    .replace("[student]", '[student]\nkind = "rbm"')
)


@pytest.fixture
def run(tmp_path):
    """Train on a graph of six classes, two of them rare; the report, the bundle, and what was learnt from."""
    graph, folder = generate_graph(0), tmp_path / "mine"
    classes = np.array(graph.class_names, object)[graph.labels]
    classes[[3, 4]], classes[[5, 6, 7]] = "odd", "strange"
    columns = {"node_id": graph.node_ids, "label": classes.tolist()}
    columns |= {f"f{place}": graph.features[:, place] for place in range(32)}
    write_table(dict(zip(("source", "target"), graph.edge_index, strict=True)), folder / "edges.csv")

    def run(fields, **column):
        write_table(columns | column, folder / "nodes.csv")
        path = folder / "experiment.toml"
        path.write_text(OWN_EXPERIMENT.replace("{fields}", fields))
        assert train(path, tmp_path / "run") == 0
        config = load_config(path)
        dataset = load_dataset(config.dataset)
        report = json.loads((tmp_path / "run" / "report.json").read_text())
        return report, read_bundle(tmp_path / "run" / "bundle"), dataset.task(config.dataset, seed=0)

    return run


def test_by_time_with_rare_classes_merged_and_weights(run, tmp_path):
    days = [f"2024-{1 + node // 28 % 12:02}-{1 + node % 28:02}" for node in range(400)]
    fields = 'time_column = "day"\nmin_class_labels = 5\nclass_weights = "balanced"'
    report, bundle, task = run(fields, day=days)
    manifest = bundle.manifest
    assert manifest.labels[-1] == "other"
    assert report["graph"]["merged_classes"] == {"name": "other", "sizes": {"odd": 2, "strange": 3}}
    assert manifest.features.num_features == 32  # the day is none
    told = "the oldest by day first, about 60% to learn from and 20% to select on, the newest to test on"
    assert report["split"] == manifest.provenance.config["dataset"]["divided"] == told
    card = (tmp_path / "run" / "bundle" / "MODEL_CARD.md").read_text()
    page = (tmp_path / "run" / "report.html").read_text()
    assert told in card
    assert "`other` stands for odd, strange" in card
    assert "merged as other" in page
    (tmp_path / "mine" / "nodes.csv").unlink()
    assert main(["export", str(tmp_path / "run")]) == 0
    again = read_bundle(tmp_path / "run" / "bundle").manifest
    assert again.provenance.config["dataset"] == manifest.provenance.config["dataset"]
    assert report["test_accuracy"] > 0.7
    assert task.setting == "inductive"
    assert report["runs"][0]["unseen_accuracy"] is not None


def test_by_group_with_classes_that_are_never_learnt(run, capsys):
    report, bundle, task = run(
        'group_column = "customer"', customer=[f"c {node % 23}" for node in range(400)]
    )
    untrained = report["runs"][0]["untrained_classes"]
    assert untrained == task.untrained_classes
    assert set(bundle.manifest.labels) >= {"odd", "strange", *untrained}
    assert "split: whole groups of customer, drawn, about 60%" in capsys.readouterr().out


def test_raw_columns_are_fitted_once_for_each_split(tmp_path, monkeypatch):
    fits, fit = [], column_features._fit
    monkeypatch.setattr(
        column_features, "_fit", lambda raw, observed: fits.append(observed.tobytes()) or fit(raw, observed)
    )
    (tmp_path / "mixed.toml").write_text(MIXED_EXPERIMENT.format(path=write_mixed(tmp_path / "mine")))
    assert train(tmp_path / "mixed.toml", tmp_path / "run", "seeds=[0, 1, 2]", "distill.max_epochs=3") == 0
    assert len(fits) == len(set(fits)) == 4  # of all nodes, and of three splits
