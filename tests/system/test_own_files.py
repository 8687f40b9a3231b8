"""Tables as people keep them, from their files to the answers of a service."""

import json

import numpy as np
import pyarrow as pa
import pytest

from rbm_bundle import read_bundle
from rbm_training.data.builtin.synthetic import generate_graph
from tests.classifying import classify, serve
from tests.training.data.readers.tables import write_table
from tests.training.objects import SMALL_EXPERIMENT, train

OWN_EXPERIMENT = (
    SMALL_EXPERIMENT.replace('kind = "synthetic"\nsetting = "inductive"', 'kind = "files"\npath = "mine"')
    .replace("train_per_class = 8\nval_per_class = 8\n", "")
    .replace("[teacher]", '[teacher]\nkind = "gcn"')
    .replace("[student]", '[student]\nkind = "rbm"')
)
N, NUM_PARTS = 400, 40


@pytest.fixture
def graph():
    return generate_graph(0)


@pytest.fixture
def run(tmp_path):
    """Trains on tables in a folder; gives the report and the bundle."""

    def run(tables):
        for name, columns in tables.items():
            write_table(columns, tmp_path / "mine" / name)
        (tmp_path / "mine.toml").write_text(OWN_EXPERIMENT)
        assert train(tmp_path / "mine.toml", tmp_path / "run") == 0
        report = json.loads((tmp_path / "run" / "report.json").read_text())
        return report, read_bundle(tmp_path / "run" / "bundle")

    return run


def edges_of(graph, ids):
    return dict(zip(("source", "target"), np.array(ids, object)[graph.edge_index].tolist(), strict=True))


def classes_of(graph):
    return np.array(graph.class_names, object)[graph.labels]


def plain(graph, classes, **others):
    """Tables of ids that count up, of the features as columns, and of other columns."""
    columns = {f"f{place}": graph.features[:, place] for place in range(graph.num_features)}
    nodes = {"node_id": list(range(N)), "label": list(classes), **columns, **others}
    return {"nodes.parquet": nodes, "edges.parquet": edges_of(graph, range(N))}


def in_parts(columns):
    """The nodes as part files."""
    table, rows = pa.table(columns), N // NUM_PARTS
    return {f"nodes/part-{part}.parquet": table.slice(part * rows, rows) for part in range(NUM_PARTS)}


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_ids_of_any_script_in_forty_part_files_with_features_in_lists(graph, run, tmp_path, form):
    ids = [f"Пакет {number}, größer → 数据" for number in range(N)]
    known = classes_of(graph)
    labels = known.copy()
    labels[np.flatnonzero(graph.labels == 0)[50:]] = None  # half of the first class is unlabelled
    rows = pa.array(graph.features.tolist(), pa.list_(pa.float32()))
    numbers = [list(range(graph.num_features))] * N
    features = {"features": rows} if form == "dense" else {"feature_ids": numbers, "feature_values": rows}
    index = {"__index_level_0__": list(range(N))}
    nodes = in_parts({"node_id": ids, "label": labels.tolist(), **features, **index})
    report, bundle = run(nodes | {"edges.parquet": edges_of(graph, ids)})
    assert report["graph"]["class_sizes"] == {"class 0": 50, "class 1": 100, "class 2": 100, "class 3": 100}
    assert report["graph"]["source"]["edges"]["num_reversed"] == report["graph"]["num_edges"]
    assert (bundle.manifest.metrics.num_training_labels, bundle.manifest.provenance.refit) == (210, True)
    with serve(bundle, tmp_path / "models") as client:
        answered = [prediction["label"] for prediction in classify(client, node_ids=ids)]
        assert np.mean(np.array(answered) == known) > 0.8
        new = {"features": [graph.features[3].tolist()], "neighbors": [[ids[3], ids[5]]]}
        [prediction] = classify(client, node_ids=["один, кого никто не знает"], **new)
        assert prediction["position"] == "neighbors"


def test_a_column_of_other_scales_does_not_drown_the_others(graph, run):
    income = np.random.default_rng(0).uniform(1e8, 2e9, N)
    report, _ = run(plain(graph, classes_of(graph), income=income))
    assert report["test_accuracy"] > 0.7


def test_a_class_that_one_test_node_has_alone_is_told_and_every_node_answered(graph, run, tmp_path):
    classes = classes_of(graph)
    classes[399] = "rare"
    split = ["train"] * 280 + ["test"] * 120
    report, bundle = run(plain(graph, classes, split=split))
    assert report["runs"][0]["untrained_classes"] == {"rare": 1}
    assert bundle.manifest.metrics.num_training_labels < 280  # the others were selected on
    with serve(bundle, tmp_path / "models") as client:
        answered = [prediction["label"] for prediction in classify(client, node_ids=list(range(N)))]
        assert np.mean(np.array(answered) == classes) > 0.8


def test_a_student_that_answers_one_class_alone_is_said_to(graph, run, tmp_path):
    classes = np.where(np.arange(N) % 10 == 0, "b", "a")
    noise = np.random.default_rng(0).normal(size=(N, 3))
    nodes = {"node_id": list(range(N)), "label": classes.tolist()}
    nodes |= {f"n{place}": noise[:, place] for place in range(3)}
    run({"nodes.parquet": nodes, "edges.parquet": edges_of(graph, range(N))})
    page = (tmp_path / "run" / "report.html").read_text()
    assert '<p class="lead">The student answers &#39;a&#39; for every node, the commonest class' in page
