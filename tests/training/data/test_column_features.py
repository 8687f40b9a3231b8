from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from rbm_training.config import DatasetConfig, FeaturesConfig
from rbm_training.data.column_features import fit_columns
from rbm_training.data.columns import raw_columns
from rbm_training.data.dataset_artifact import as_artifact, from_artifact
from rbm_training.data.graph import GraphError
from rbm_training.data.loading import load_dataset
from tests.training.column_tables import mixed_columns, write_mixed


def fit(nodes=None, config=None, **values):
    raw = raw_columns("nodes", pa.table(values), config or FeaturesConfig())
    return fit_columns(raw, np.arange(raw.table.num_rows) if nodes is None else np.array(nodes))


def column(fitted):
    [only] = fitted.columns
    return only


def test_numbers_are_standardised_and_a_gap_is_the_mean_and_a_feature_of_its_own():
    fitted = fit(x=[1.0, 3.0, None, 1.0, 3.0, 2.0])
    np.testing.assert_allclose(
        fitted.features.toarray(),
        np.array([[-1.2247449, 1.2247449, 0, -1.2247449, 1.2247449, 0], [0, 0, 1, 0, 0, 0]]).T,
        rtol=1e-6,
    )
    assert (column(fitted).fill, column(fitted).num_features) == ((2.0,), 2)


def test_rare_and_unknown_categories_are_one_and_a_gap_is_another():
    fitted = fit(x=["a", "a", "b", "b", "c", "d", None, None])
    assert (column(fitted).names, column(fitted).num_features) == (("a", "b"), 4)
    rows = fitted.transform({"x": ["a", "c", "never", None, ""]}).toarray()
    assert rows.sum(axis=1).tolist() == [1] * 5
    assert (rows[1] == rows[2]).all()
    assert (rows[3] == rows[4]).all()
    assert len(np.unique(rows, axis=0)) == 3


def test_an_unknown_category_is_none_where_none_was_rare():
    assert fit(x=["a", "a", "b", "b"]).transform({"x": ["never", None]}).nnz == 0


def test_tags_are_counted_once_and_may_have_spaces():
    fitted = fit(x=[["big data", "ml"], ["ml"], ["big data"], [], None])
    assert fitted.features.toarray().tolist() == [[1, 1], [0, 1], [1, 0], [0, 0], [0, 0]]


def test_only_the_most_frequent_terms_count():
    config = FeaturesConfig(max_terms=1, columns={"x": "text"})
    fitted = fit(config=config, x=["graph of words", "a graph", "the graph words"])
    assert fitted.features.toarray().tolist() == [[1], [1], [1]]


def test_the_most_frequent_categories_count():
    fitted = fit(config=FeaturesConfig(max_terms=1), x=["a", "b", "b", "b", "a", "c"])
    assert column(fitted).names == ("b",)


@pytest.mark.parametrize(
    ("values", "config", "message"),
    [
        ([None, None, 1.0], {}, "column x without a value"),
        (["ab", "cd", "ef"], {}, "column x of 2 different values or words, none of them in 2 nodes"),
        ([["ab"], ["cd"], []], {}, "column x of 2 different values or words"),
        (["no", "words", ""], {"x": "text"}, "column x of 2 different values or words"),
        (["a", "b", "c"], {"x": "tags"}, r"x\[0\] = 'a'; wanted a list of strings"),
        (["1", "two", "3"], {"x": "number"}, r"x\[1\] = 'two'; wanted a finite number"),
    ],
)
def test_a_column_of_which_nothing_can_be_learnt_is_refused(values, config, message):
    with pytest.raises(GraphError, match=message):
        fit([0, 1], FeaturesConfig(columns=config), x=values)


def test_strings_may_be_read_as_numbers_and_times():
    config = FeaturesConfig(columns={"x": "number", "y": "time"})
    fitted = fit(config=config, x=["1", " 2.5 ", ""], y=["2024-01-01", None, "2025-01-01T12:00Z"])
    assert [each.num_features for each in fitted.columns] == [2, 6]


@pytest.fixture
def inductive(tmp_path):
    """The small graph with columns, and the same one where what is held out has other columns."""
    config = DatasetConfig(
        kind="files", path=tmp_path / "mine", setting="inductive", train_per_class=8, val_per_class=8
    )
    write_mixed(config.path)
    dataset = load_dataset(config)
    task = dataset.task(config, seed=0)
    table = dataset.columns.table
    held_out = np.concatenate([task.unseen, task.pseudo_unseen])
    other = pa.table(mixed_columns(80, seed=7)).cast(table.schema)
    rows = np.arange(80)
    rows[held_out] += 80
    mixed = pa.concat_tables([table, other]).take(pa.array(rows))
    return config, task, dataset, replace(dataset, columns=replace(dataset.columns, table=mixed))


def test_nodes_that_are_held_out_do_not_touch_the_fit(inductive):
    config, task, dataset, changed = inductive
    other = changed.task(config, seed=0)
    np.testing.assert_array_equal(other.observed.dense_features(), task.observed.dense_features())
    assert (other.graph.dense_features() != task.graph.dense_features()).any()
    fits = [fit_columns(each.columns, task.observed_nodes).columns for each in (dataset, changed)]
    assert fits[0] == fits[1]
    assert dataset.sha256 != changed.sha256


def test_labels_do_not_touch_the_fit(inductive):
    config, _, dataset, _ = inductive
    transductive = config.model_copy(update={"setting": "transductive"})
    swapped = replace(dataset, graph=replace(dataset.graph, labels=1 - dataset.graph.labels))
    first, other = (each.task(transductive, seed=0).graph.features for each in (dataset, swapped))
    np.testing.assert_array_equal(first, other)


def test_columns_stay_with_the_run(inductive):
    config, task, dataset, _ = inductive
    found = from_artifact(as_artifact(dataset))
    assert found.sha256 == dataset.sha256
    np.testing.assert_array_equal(
        found.task(config, seed=0).graph.dense_features(), task.graph.dense_features()
    )
