from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.loading import load_dataset
from rbm_training.data.readers.npz import load_npz
from rbm_training.data.readers.parquet import load_parquet
from tests.training.data.readers.tables import IDS, TABLES, named, write_tables


@pytest.fixture
def write(tmp_path):
    return partial(write_tables, tmp_path / "mine")


def test_three_tables_are_a_graph(write):
    dataset = load_parquet(write(), "mine")
    graph = dataset.graph
    assert graph.node_ids.tolist() == IDS
    assert graph.class_names == ("no", "yes")
    assert graph.labels.tolist() == [1, 0, 1, 0, UNLABELLED, 0]
    assert graph.features[:, 0].tolist() == [0.5, 1, 2, 3, 4, 5]
    assert graph.features[:, 1].tolist() == [7, 6, 5, 4, 3, 2]
    assert graph.features.dtype == np.float32
    assert (graph.adjacency.nnz, graph.neighbors_of(0).tolist()) == (12, [1, 5])
    assert dataset.published is None
    assert dataset.feature_names == ("height", "age")


def test_a_folder_is_the_name_of_its_graph_even_from_within(write, monkeypatch):
    monkeypatch.chdir(write())
    assert load_dataset(DatasetConfig(kind="files", path=".")).graph.name == "mine"


def test_the_tables_and_the_arrays_of_a_graph_are_the_same_dataset(write, tmp_path):
    folder = write(labels={"split": ["val", "train", "train", "test", None]})
    masks = {"train": [0, 1], "val": [5], "test": [2]}
    rows = {value: row for row, value in enumerate(IDS)}
    np.savez(
        tmp_path / "mine.npz",
        edge_index=np.array(
            [[rows[value] for value in TABLES["edges"][end]] for end in ("source", "target")]
        ),
        x=np.array([TABLES["nodes"]["height"], TABLES["nodes"]["age"]]).T,
        y=np.array([1, 0, 1, 0, -1, 0]),
        node_ids=np.array(IDS),
        class_names=np.array(["no", "yes"]),
        **{f"{role}_mask": np.isin(np.arange(6), nodes) for role, nodes in masks.items()},
    )
    digests = {
        load_dataset(DatasetConfig(kind="files", path=path)).sha256
        for path in (folder, tmp_path / "mine.npz")
    }
    assert digests == {load_npz(tmp_path / "mine.npz", "mine").sha256}


def test_ids_may_be_strings_and_categories(write):
    edges = {name: named(column) for name, column in TABLES["edges"].items()}
    labels = {
        "node_id": pa.array(named(TABLES["labels"]["node_id"])).dictionary_encode(),
        "label": pa.array(TABLES["labels"]["label"]).dictionary_encode(),
    }
    graph = load_parquet(write(nodes={"node_id": named(IDS)}, edges=edges, labels=labels), "mine").graph
    assert graph.node_ids.tolist() == named(IDS)
    assert graph.labels.tolist() == [1, 0, 1, 0, UNLABELLED, 0]
    assert graph.adjacency.nnz == 12


def test_integer_labels_are_classes_in_rising_order(write):
    graph = load_parquet(write(labels={"label": [10, 9, 10, 9, 100]}), "mine").graph
    assert graph.class_names == ("9", "10", "100")
    assert graph.labels.tolist() == [0, 1, 0, 2, UNLABELLED, 1]


PLAIN = {"height": None, "age": None}
DENSE = [[1.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 4.0], [0.0] * 3, [5.0, 0.0, 0.0]]
SPARSE_IDS = [[0], [2], [], [2, 1], [], [0]]
SPARSE_VALUES = [[1.0], [2.0], [], [4.0, 3.0], [], [5.0]]


@pytest.mark.parametrize(
    "columns",
    [
        {"features": DENSE},
        {"features": pa.array(DENSE, pa.list_(pa.float32()))},
        {"features": pa.array(DENSE, pa.list_(pa.float32(), 3))},
        {"features": pa.array(DENSE, pa.large_list(pa.float16()))},
        {"feature_ids": SPARSE_IDS, "feature_values": SPARSE_VALUES},
        {"feature_ids": SPARSE_IDS, "feature_values": pa.array(SPARSE_VALUES, pa.list_(pa.float32()))},
    ],
    ids=["lists", "floats", "fixed-size", "large", "sparse", "sparse-floats"],
)
def test_features_may_come_in_lists(write, columns):
    dataset = load_parquet(write(nodes=PLAIN | columns), "mine")
    np.testing.assert_array_equal(dataset.graph.dense_features(), np.array(DENSE, np.float32))
    assert dataset.feature_names == ()


def test_feature_ids_alone_are_ones(write):
    graph = load_parquet(write(nodes=PLAIN | {"feature_ids": SPARSE_IDS}), "mine").graph
    np.testing.assert_array_equal(graph.dense_features(), np.array(DENSE, np.float32) > 0)


def nodes(**columns):
    return {"nodes": PLAIN | columns}


def ids(*values, kind=None):
    return {"nodes": {"node_id": pa.array(values, kind)}}


def edges(*sources, kind=None):
    return {"edges": {"source": pa.array(sources, kind), "target": pa.array([10] * len(sources))}}


def labels(**columns):
    return {"labels": columns}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": None}, r"edges\.parquet: found no file"),
        ({"labels": None}, r"labels\.parquet: found no file"),
        ({"nodes": {"node_id": None}}, "no column node_id among height, age"),
        ({"edges": {"target": None}}, "edges.parquet: found no column target"),
        (labels(label=None), "labels.parquet: found no column label"),
        (labels(node_id=None), "labels.parquet: found no column node_id"),
        (labels(splits=["train"] * 5), "unknown columns splits"),
        (ids(30, 10, 20, 50, 40, 30), r"nodes\.parquet: found node id 30 twice"),
        (ids(30, 10, 20, 50, None, 60), r"node_id\[4\] = null; wanted a value in every row"),
        (ids(30.0, 10.0, 20.0, 50.0, 40.0, 60.0), "node_id of type double; wanted integers or strings"),
        (ids(2**63, 10, 20, 50, 40, 60, kind=pa.uint64()), "node_id that does not fit int64"),
        (edges(10, 99), r"edges\.parquet: found source\[1\] = 99, which is no node"),
        (edges(10, None, kind=pa.int64()), r"source\[1\] = null"),
        (edges("10", "20"), "source of type string; wanted integers, as the nodes' ids are"),
        (edges(2**63, kind=pa.uint64()), "source that does not fit int64"),
        (labels(node_id=[60, 60, 10, 20, 50]), r"labels\.parquet: found node id 60 twice"),
        (labels(node_id=[60, 61, 10, 20, 50]), r"node_id\[1\] = 61, which is no node"),
        (labels(label=[-1, 1, 0, 1, 0]), "label -1; wanted integers from 0"),
        (labels(label=["no"] * 5), "one class"),
        (labels(node_id=pa.array([], pa.int64()), label=pa.array([], pa.string())), "without a single label"),
        (labels(split=["train", "val", "test", "dev", None]), r"split\[3\] = 'dev'; wanted train, val, test"),
        (labels(split=[0, 1, 2, 0, 1]), "split of type int64; wanted strings"),
        (nodes(colour=[b"red"] * 6), 'column colour of type binary; wanted another, or colour = "drop"'),
        (nodes(height=[None] * 6), "column height of no value"),
        (nodes(height=[0.5, None, np.inf, 3, 4, 5]), r"height\[2\] = inf; wanted a finite"),
        (nodes(height=[1] * 6, colour=["red"] * 6, split=[1] * 6), "column split among the features"),
        (nodes(height=[0.5, 1, np.inf, 3, 4, 5]), r"height\[2\] = inf; wanted finite"),
        (nodes(height=[0.5, 1, 2, 3, 4, 1e16]), r"height\[5\] = 1e\+16"),
        (nodes(height=[1] * 6, label=[1] * 6), "column label among the features"),
        (nodes(feature_values=[[1.0]] * 6), "column feature_values among the features"),
        (nodes(features=DENSE, height=[1] * 6), "unknown columns height"),
        (nodes(features=[[1.0], [1.0], [1.0, 2.0], [1.0], [1.0], [1.0]]), r"2 numbers in features\[2\]"),
        (nodes(features=[[1.0], [1.0], [None], [1.0], [1.0], [1.0]]), r"null in features\[2\]"),
        (nodes(features=[[1.0], [1.0], [np.inf], [1.0], [1.0], [1.0]]), r"features\[2, 0\] = inf"),
        (nodes(features=[[1.0], [1.0], None, [1.0], [1.0], [1.0]]), r"features\[2\] = null"),
        (nodes(features=[1.0] * 6), "features of type double; wanted lists of numbers"),
        (nodes(features=[["a"]] * 6), "wanted lists of numbers"),
        (nodes(features=pa.array([[]] * 6, pa.list_(pa.float32()))), r"features of shape \(6, 0\)"),
        (nodes(feature_ids=[[0], [-1], [], [], [], []]), "a feature id -1; wanted column numbers 0"),
        (
            nodes(feature_ids=pa.array([[2**64 - 1]] * 6, pa.list_(pa.uint64()))),
            "feature id 18446744073709551615",
        ),
        (nodes(feature_ids=[[0.0], [], [], [], [], []]), "feature_ids of type float64"),
        (nodes(feature_ids=[[3, 3], [], [], [], [], []]), "column 3 twice in row 0"),
        (nodes(feature_ids=pa.array([[]] * 6, pa.list_(pa.int64()))), r"features of shape \(6, 0\)"),
        (
            nodes(feature_ids=[[1]] * 6, feature_values=[[1.0]] * 5 + [[]]),
            r"0 numbers in feature_values\[5\]",
        ),
    ],
)
def test_malformed_tables_are_refused_by_name_with_found_and_wanted(write, changes, message):
    folder = write(**changes)
    with pytest.raises(GraphError, match=message) as raised:
        load_parquet(folder, "mine")
    assert str(folder) in str(raised.value)


def test_a_split_without_validation_nodes_is_passed_on(write):
    published = load_parquet(
        write(labels={"split": ["test", "train", "train", "test", None]}), "mine"
    ).published
    assert published.train.sum() == published.test.sum() == 2
    assert not published.val.any()


@pytest.mark.parametrize("split", [pa.nulls(5), pa.nulls(5, pa.string())])
def test_a_split_of_nobody_is_none(write, split):
    assert load_parquet(write(labels={"split": split}), "mine").published is None


def test_a_table_nobody_reads_is_refused(write):
    folder = write()
    (folder / "edges2.parquet").write_bytes((folder / "edges.parquet").read_bytes())
    with pytest.raises(GraphError, match=r"unknown tables edges2\.parquet"):
        load_parquet(folder, "mine")


def test_two_columns_of_one_name_are_refused(write):
    folder = write()
    column = pa.array([1, 2])
    pq.write_table(pa.Table.from_arrays([column, column], ["source", "source"]), folder / "edges.parquet")
    with pytest.raises(GraphError, match="columns source, source; wanted different names"):
        load_parquet(folder, "mine")


@pytest.mark.parametrize("keep", [0, 10, -10])
def test_a_damaged_table_is_refused(write, keep):
    path = write() / "nodes.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GraphError, match=r"nodes\.parquet: found no readable Parquet table"):
        load_parquet(path.parent, "mine")
