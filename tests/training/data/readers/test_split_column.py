"""The column that divides nodes, read from every kind of file."""

import json
from datetime import date, datetime

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch_geometric.data import Data

from rbm_training.config import DatasetConfig, FeaturesConfig
from rbm_training.data.column_splits import WITHOUT_VALUE
from rbm_training.data.graph import GraphError
from rbm_training.data.loading import load_dataset
from tests.training.data.readers.tables import write_tables
from tests.training.objects import write_npz

DAYS = [date(2024, 1, day) for day in (3, 1, 2, 2, 9, 1)]
RANKS = [3, 1, 2, 2, 4, 1]
COLUMNS = {
    "integers": [30, 10, 20, 20, 90, 10],
    "floats with a gap": [3.5, 1.5, 2.5, 2.5, float("nan"), 1.5],
    "dates": DAYS,
    "times": pa.array([datetime(2024, 1, day.day, 12) for day in DAYS], pa.timestamp("ns", "UTC")),
    "strings": [day.isoformat() for day in DAYS],
    "categories": pa.array([day.isoformat() for day in DAYS]).dictionary_encode(),
}


def load(path, by="time", features=None, **fields):
    config = DatasetConfig(kind="files", path=path, **{f"{by}_column": "when"} | fields)
    return load_dataset(config, features or FeaturesConfig())


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_nodes_is_their_order_and_no_feature(name, tmp_path):
    dataset = load(write_tables(tmp_path / "mine", nodes={"when": COLUMNS[name]}))
    wanted = [*RANKS[:4], WITHOUT_VALUE, 1] if name == "floats with a gap" else RANKS
    assert dataset.ranks.tolist() == wanted
    assert dataset.graph.num_features == 2


def test_csv_and_labels_may_have_it_too(tmp_path):
    folder = write_tables(tmp_path / "mine", ".csv", labels={"when": DAYS[:5]})
    assert load(folder).ranks.tolist() == [1, 2, 2, 4, WITHOUT_VALUE, 3]


def test_groups_may_be_any_strings(tmp_path):
    folder = write_tables(tmp_path / "mine", nodes={"when": ["b", "a", None, "b", "ü x", ""]})
    assert load(folder, "group").ranks.tolist() == [3, 2, WITHOUT_VALUE, 3, 4, 1]


def test_a_column_that_the_features_name_is_one_as_well(tmp_path):
    folder = write_tables(tmp_path / "mine", nodes={"when": DAYS})
    dataset = load(folder, features=FeaturesConfig(columns={"when": "time"}))
    assert dataset.columns.names == ["height", "age", "when"]
    dropped = load(folder, features=FeaturesConfig(columns={"when": "drop"}))
    assert dropped.columns.names == ["height", "age"]


def test_arrays_have_an_array_of_that_name(tmp_path):
    for unit in ("D", "h", "ns"):
        write_npz(tmp_path / "mine.npz", when=np.array(DAYS, "M8[D]").astype(f"M8[{unit}]"))
        assert load(tmp_path / "mine.npz").ranks.tolist() == RANKS
    write_npz(tmp_path / "mine.npz", when=np.array(list("cabbda")))
    assert load(tmp_path / "mine.npz", "group").ranks.tolist() == RANKS


def test_a_saved_data_has_a_tensor_of_that_name(tmp_path):
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    data = Data(x=torch.eye(6), edge_index=edges, y=labels, when=torch.tensor(COLUMNS["integers"]))
    torch.save(data, tmp_path / "mine.pt")
    assert load(tmp_path / "mine.pt").ranks.tolist() == RANKS


def test_a_graph_of_networkx_has_an_attribute_of_that_name(tmp_path):
    graph = nx.path_graph(6)
    for node, day in enumerate(DAYS):
        graph.add_node(node, size=node, label="ab"[node % 2], when=day.isoformat())
    (tmp_path / "mine.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    nx.write_graphml(graph, tmp_path / "mine.graphml")
    for suffix in ("json", "graphml"):
        dataset = load(tmp_path / f"mine.{suffix}")
        assert (dataset.ranks.tolist(), dataset.graph.num_features) == (RANKS, 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"wen": DAYS},
            r'no column when to .* wanted one of node_id, height, age, wen; did you mean "wen"\?',
        ),
        ({"when": ["1.2.24"] * 6}, r"when of strings \(.*wanted times as 2024-05-31"),
        ({"when": [[1]] * 6}, "when of type list.*wanted numbers, dates or times"),
    ],
)
def test_a_column_that_is_missing_or_has_no_order_is_told(columns, message, tmp_path):
    with pytest.raises(GraphError, match=message):
        load(write_tables(tmp_path / "mine", nodes=columns))


def test_nodes_are_not_divided_by_their_classes(tmp_path):
    folder = write_tables(tmp_path / "mine", labels=None, nodes={"label": list("ababab")})
    with pytest.raises(GraphError, match="no column label to divide nodes by"):
        load(folder, "group", group_column="label")


def test_an_array_that_is_missing_or_of_another_shape_is_told(tmp_path):
    write_npz(tmp_path / "mine.npz", wen=np.arange(6))
    with pytest.raises(GraphError, match=r'no array when to .* wanted one of wen; did you mean "wen"\?'):
        load(tmp_path / "mine.npz")
    write_npz(tmp_path / "mine.npz", when=np.arange(5))
    with pytest.raises(GraphError, match=r"when of shape \(5\)"):
        load(tmp_path / "mine.npz")


def test_a_split_that_comes_with_the_graph_is_left_only_when_asked(tmp_path):
    folder = write_tables(
        tmp_path / "mine", nodes={"when": DAYS}, labels={"split": ["val", "train", "train", "test", "test"]}
    )
    with pytest.raises(GraphError, match="a split that comes with the graph beside column when"):
        load(folder)
    assert load(folder, split="random").published is None
