"""Columns with gaps, from the tables on disk to the answer of a service: the path of a record."""

import json
import shutil

import numpy as np
import pytest

from rbm_bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.config import load_config
from rbm_training.data.loading import load_dataset
from tests.classifying import classify, refused, serve
from tests.training.column_tables import MIXED_EXPERIMENT, WORDS, write_mixed
from tests.training.objects import train

SPARSE_TITLES = [
    " ".join([*np.random.default_rng(i).choice(200, 4).astype(str), WORDS[label][i % 3]])
    for i, label in enumerate(["art", "bio"] * 40)
]


@pytest.fixture(scope="module", params=["dense", "sparse"])
def trained(request, tmp_path_factory):
    """A finished run on columns of all kinds, or on a few of which words make up most of the features."""
    folder = tmp_path_factory.mktemp("records")
    none = dict.fromkeys(("year", "price", "open", "when", "tags"))
    changes = {**none, "title": SPARSE_TITLES} if request.param == "sparse" else {}
    write_mixed(folder / "mine", **changes)
    (folder / "mixed.toml").write_text(MIXED_EXPERIMENT.format(path=folder / "mine"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1790000000")
        assert train(folder / "mixed.toml", folder / "run") == 0
    bundle = read_bundle(folder / "run" / "bundle")
    assert (bundle.manifest.features.form, bundle.manifest.features.names) == (request.param, None)
    config = load_config(folder / "mixed.toml")
    dataset = load_dataset(config.dataset, config.features)
    report = json.loads((folder / "run" / "report.json").read_text())
    with serve(bundle, folder / "models") as client:
        yield client, dataset, dataset.task(config.dataset, seed=0), report, folder


def test_a_bundle_is_made_again_from_the_run_alone(trained, tmp_path, monkeypatch):
    *_, folder = trained
    before = read_bundle(folder / "run" / "bundle").manifest.bundle_id
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    shutil.copytree(folder / "run", tmp_path / "elsewhere")
    (folder / "mine").rename(tmp_path / "taken away")
    assert main(["export", str(tmp_path / "elsewhere")]) == 0
    assert read_bundle(tmp_path / "elsewhere" / "bundle").manifest.bundle_id == before
    (tmp_path / "taken away").rename(folder / "mine")


def test_the_command_says_what_columns_were_taken_for(trained, capsys):
    *_, folder = trained
    assert main(["datasets", str(folder / "mixed.toml")]) == 0
    assert "text, " in capsys.readouterr().out
    assert "| title | text |" in (folder / "run" / "bundle" / "MODEL_CARD.md").read_text()


def test_nodes_never_seen_score_by_their_records_what_training_reported(trained):
    client, dataset, task, report, _ = trained
    graph = dataset.graph
    neighbors = [graph.node_ids[graph.neighbors_of(node)].tolist() for node in task.unseen]
    found = classify(client, records=dataset.columns.records(task.unseen), neighbors=neighbors)
    right = [each["class_index"] for each in found] == graph.labels[task.unseen]
    assert np.mean(right) == pytest.approx(report["unseen_accuracy"])


def test_the_record_of_a_known_node_says_what_its_cached_features_say(trained):
    client, dataset, task, *_ = trained
    nodes = task.observed_nodes[:20]
    ids = dataset.graph.node_ids[nodes].tolist()
    own, cached = (
        classify(client, node_ids=ids, return_probabilities=True, **more)
        for more in ({"records": dataset.columns.records(nodes)}, {})
    )
    for one, other in zip(own, cached, strict=True):
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-4)


def test_a_record_with_gaps_and_odd_values_is_answered(trained):
    client, *_ = trained
    odd = {"title": "\u0000 数据 \U0001f642 {} ", "section": None}
    assert len(classify(client, records=[odd, {}], neighbors=[["n1"], ["nobody"]])) == 2
    problem = refused(client, 422, "validation", json={"records": [{"sektion": "a"}], "neighbors": [["n1"]]})
    assert problem["detail"] == "records[0].sektion: unknown field (did you mean section?)"
