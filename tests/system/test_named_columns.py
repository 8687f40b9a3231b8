"""Columns of numbers, from a table to the service: their names."""

import json

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from rbm_bundle import read_bundle
from rbm_training.data.builtin.synthetic import generate_graph
from tests.classifying import serve
from tests.training.objects import SMALL_EXPERIMENT, train

NAMES = [f"column {index}" for index in range(32)]


def write_graph(folder, names):
    """A generated graph as three tables, the columns of its features called so."""
    graph = generate_graph(0)
    ids = pa.array(graph.node_ids)
    source, target = (pa.array(ends) for ends in graph.edge_index)
    tables = {
        "nodes": {"node_id": ids, **dict(zip(names, map(pa.array, graph.features.T.copy()), strict=True))},
        "edges": {"source": source, "target": target},
        "labels": {"node_id": ids, "label": pa.array(graph.labels)},
    }
    folder.mkdir(exist_ok=True)
    for name, columns in tables.items():
        pa_csv.write_csv(pa.table(columns), folder / f"{name}.csv")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run, its graph and its experiment."""
    folder = tmp_path_factory.mktemp("named")
    write_graph(folder / "mine", NAMES)
    own = SMALL_EXPERIMENT.replace('kind = "synthetic"', 'kind = "files"\npath = "mine"')
    (folder / "mine.toml").write_text(own)
    assert train(folder / "mine.toml", folder / "run") == 0
    return folder


def test_they_are_in_the_bundle_and_the_service_tells_them(run, tmp_path):
    bundle = read_bundle(run / "run" / "bundle")
    assert (bundle.manifest.features.names, bundle.manifest.format_version) == (tuple(NAMES), 2)
    with serve(bundle, tmp_path) as client:
        assert client.get("/info").json()["features"]["names"] == NAMES


def test_card_and_report_begin_with_them(run):
    first = "column 0, column 1, column 2, column 3, column 4, and 27 more"
    assert first in (run / "run" / "bundle" / "MODEL_CARD.md").read_text()
    assert f"32: {first}" in (run / "run" / "report.html").read_text()
    assert json.loads((run / "run" / "report.json").read_text())["graph"]["source"]["feature_names"] == NAMES


def test_other_names_for_the_same_numbers_make_another_bundle_and_train_nothing(run):
    write_graph(run / "mine", [name.upper() for name in NAMES])
    (run / "run" / "log.jsonl").write_text("")
    assert train(run / "mine.toml", run / "run") == 0
    assert read_bundle(run / "run" / "bundle").manifest.features.names[0] == "COLUMN 0"
    events = [json.loads(line)["event"] for line in (run / "run" / "log.jsonl").read_text().splitlines()]
    assert "bundle" in events
    assert "seed" not in events
