"""A graph of edges and labels alone, and what Arrow's memory must not do to the arrays of a graph."""

import numpy as np
import pyarrow as pa
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import GraphError
from rbm_training.data.loading import load_dataset
from tests.training.data.readers.tables import IDS, named, write_tables


def load(folder):
    return load_dataset(DatasetConfig(kind="files", path=folder))


def test_nodes_that_only_edges_name_have_their_degrees_as_features(tmp_path):
    folder = write_tables(
        tmp_path / "mine", ".csv", nodes=None, edges={"source": [*IDS[:6], 30], "target": [10] * 7}
    )
    dataset = load(folder)
    assert dataset.graph.node_ids.tolist() == sorted(IDS)
    degrees = [5, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(
        dataset.graph.features, np.stack([np.ones(6), np.log1p(degrees)], axis=1), rtol=1e-6
    )
    assert not dataset.source.has_features
    assert dataset.feature_names == ("1", "log(1 + degree)")


def test_nodes_of_ids_alone_have_their_degrees_as_features(tmp_path):
    dataset = load(write_tables(tmp_path / "mine", nodes={"height": None, "age": None}))
    assert dataset.graph.node_ids.tolist() == IDS
    assert dataset.graph.num_features == 2
    assert not dataset.source.has_features


def test_a_node_that_only_a_label_names_is_one_without_neighbours(tmp_path):
    edges = {"source": [1, 2], "target": [2, 3]}
    labels = {"node_id": [1, 2, 9], "label": ["a", "b", "a"]}
    graph = load(write_tables(tmp_path / "mine", nodes=None, edges=edges, labels=labels)).graph
    assert graph.node_ids.tolist() == [1, 2, 3, 9]
    assert graph.neighbors_of(3).tolist() == []


def test_ids_of_two_kinds_are_refused(tmp_path):
    with pytest.raises(GraphError, match=r"target of strings; wanted integers, as column source"):
        load(write_tables(tmp_path / "mine", nodes=None, edges={"target": named([1] * 7)}))


LISTS = [[1.0, 0.0, 2.0]] * 6


@pytest.mark.parametrize(
    "columns",
    [
        {"features": pa.array(LISTS, pa.list_(pa.float32()))},
        {"features": pa.array(LISTS, pa.list_(pa.float32(), 3))},
        {"features": pa.array(LISTS, pa.large_list(pa.float32()))},
        {
            "feature_ids": pa.array([[0, 12]] * 6, pa.large_list(pa.uint64())),
            "feature_values": pa.array([[1.0, 0.0]] * 6, pa.list_(pa.float32())),
        },
        {
            "feature_ids": pa.array([[0, 40]] * 6, pa.list_(pa.int32())),
            "feature_values": pa.array([[1.0, 0.0]] * 6, pa.list_(pa.float32(), 2)),
        },
    ],
)
def test_features_in_lists_are_arrays_of_their_own(tmp_path, columns):
    folder = write_tables(tmp_path / "mine", nodes={"height": None, "age": None} | columns)
    features = load(folder).graph.features
    assert (features if isinstance(features, np.ndarray) else features.data).flags.writeable
    assert load(folder).graph.node_ids.flags.writeable


def test_columns_of_edges_that_nobody_reads_are_told(tmp_path):
    dataset = load(write_tables(tmp_path / "mine", edges={"weight": [0.5] * 7, "since": ["May"] * 7}))
    assert [it.split(": ", 1)[1] for it in dataset.source.unused] == [
        "column weight: edges have no weight and no kind here",
        "column since: edges have no weight and no kind here",
    ]
