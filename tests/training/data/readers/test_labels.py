"""What may be a label, and what is told of that which may not."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.readers.parquet import load_parquet
from tests.training.data.readers.tables import write_tables


@pytest.fixture
def load(tmp_path):
    write = partial(write_tables, tmp_path / "mine")
    return lambda **changes: load_parquet(write(**changes), "mine").graph


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        (["no", None, "no", "yes", "no"], ("no", "yes")),
        ([7, None, 7, 3, 7], ("3", "7")),
        ([7.0, np.nan, 7.0, 3.0, 7.0], ("3", "7")),
        ([True, None, True, False, True], ("false", "true")),
        (pa.array(["no", None, "no", "größer als 7", "no"]).dictionary_encode(), ("größer als 7", "no")),
        (pa.array([2**63, None, 2**63, 1, 1], pa.uint64()), ("1", str(2**63))),
    ],
)
def test_a_null_is_no_label_and_all_else_a_class(load, label, classes):
    graph = load(labels={"label": label})
    assert graph.class_names == classes
    assert graph.labels[0] == UNLABELLED
    assert (graph.labels == UNLABELLED).sum() == 2


def test_labels_may_be_a_column_of_the_nodes(load):
    columns = {"label": ["a", "b", None, "a", "b", "a"], "split": ["train", "val", None, "test", None, None]}
    graph = load(nodes=columns, labels=None)
    assert graph.labels.tolist() == [0, 1, UNLABELLED, 0, 1, 0]
    assert graph.num_features == 2


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([0.5, 1, 0, 1, 0], r"label\[0\] = 0\.5; wanted classes, .* \(regression\) are not learnt"),
        ([[1], [0], [1, 0], [0], [1]], r"label of type list<.*>; wanted one class .* \(multi-label\)"),
        ([float("inf"), 1.0, 0.0, 1.0, 0.0], r"label\[0\] = inf; wanted classes"),
        (["a", "", "b", "a", "b"], r"label\[1\] = ''; wanted the name of a class, or null"),
        ([None] * 5, "label without a single label"),
        ([-1, 1, 0, 1, 0], "label -1; wanted integers from 0, null for an unlabelled node, or strings"),
        ([b"a"] * 5, "label of type binary; wanted integers or strings"),
    ],
)
def test_what_is_no_class_is_refused_by_what_it_is(load, label, message):
    with pytest.raises(GraphError, match=message):
        load(labels={"label": label})


def test_a_graph_without_labels_is_told_where_they_may_stand(load):
    with pytest.raises(GraphError, match=r"labels\.parquet: found no file; .* a column label of the nodes"):
        load(labels=None)
