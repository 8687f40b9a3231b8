from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from rbm_training.config import ExperimentConfig, FeaturesConfig
from rbm_training.data.advice import advice
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.column_features import fit_columns
from rbm_training.data.columns import raw_columns
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import EdgeCounts, symmetrised
from rbm_training.data.graph_statistics import Source

GOOD = generate_graph(0)


def told(graph, source=None, **tables):
    return advice(ExperimentConfig.model_validate({"name": "mine", **tables}), Dataset(graph, source=source))


def joined(edges):
    return symmetrised(np.asarray(edges), GOOD.num_nodes)[0]


def test_an_ordinary_graph_calls_for_nothing():
    assert told(GOOD) == []


def test_a_huge_column_is_named_and_what_to_do_depends_on_the_scaling():
    graph = replace(GOOD, features=GOOD.features * np.where(np.arange(32) == 3, 1e9, 1).astype(np.float32))
    names = tuple(f"column{index}" for index in range(32))
    [line] = told(graph, Source(EdgeCounts(0, 0, 0, 0), feature_names=names))
    assert line.startswith("feature column3: so large")
    assert 'set scaling.features = "standardised"' in line
    [line] = told(graph, scaling={"features": "standardised"})
    assert line.startswith("feature 3: so large")
    assert line.endswith("columns are standardised, so that all count")


def test_raw_columns_drown_nothing_since_they_were_scaled():
    huge = replace(GOOD, features=GOOD.features * np.where(np.arange(32) == 3, 1e9, 1).astype(np.float32))
    columns = raw_columns("mine", pa.table({"amount": GOOD.features[:, 0]}), FeaturesConfig())
    assert advice(ExperimentConfig(name="mine"), Dataset(huge, columns=columns)) == []


def test_what_standardised_zeros_take_is_told():
    words = sp.csr_array((np.arange(400 * 32) % 10 == 0).reshape(400, 32) * np.float32(1))
    [line] = told(replace(GOOD, features=words), scaling={"features": "standardised"})
    assert line.startswith("10.0% of the feature values are not zero, but standardised all are")


@pytest.mark.parametrize(("kind", "word"), [("auto", "among"), ("sage", 'teacher.kind = "auto" would')])
def test_edges_that_join_at_random_are_told_of_without_fright(kind, word):
    graph = replace(GOOD, adjacency=joined(np.random.default_rng(0).integers(0, 400, (2, 1500))))
    [line] = told(graph, teacher={"kind": kind})
    assert line.startswith("edge homophily is 0.2")
    assert f"the graph may help little; {word}" in line


def test_a_hub_is_told_by_its_id():
    ring = np.stack([np.arange(400), np.roll(np.arange(400), 1)])
    to_hub = np.stack([np.full(150, 7), np.arange(100, 250)])
    same = replace(GOOD, labels=np.arange(400) // 200, class_names=("a", "b"))
    assert told(replace(same, adjacency=joined(ring))) == []
    [line] = told(replace(same, adjacency=joined(np.concatenate([ring, to_hub], axis=1))))
    assert line.startswith(f"node {GOOD.node_ids[7].item()!r} has 152 of the 550 edges")


def test_four_labels_in_five_of_one_class_are_told():
    labels = np.repeat([0, 1], [320, 80])
    ring = np.stack([np.arange(400), np.roll(np.arange(400), 1)])
    graph = replace(GOOD, labels=labels, class_names=("often", "rare"), adjacency=joined(ring))
    [line] = told(graph)
    assert line.startswith("80.0% of the labels are 'often', and a constant answer is as accurate; compare")
    assert line.endswith('set dataset.class_weights = "balanced"')
    [line] = told(graph, dataset={"class_weights": "balanced"})
    assert line.endswith("AUPRC of the rare classes")
    assert told(replace(graph, labels=np.repeat([0, 1], [310, 90]))) == []


def test_a_class_that_is_rare_alone_is_said_to_stay():
    labels = np.where(np.arange(GOOD.num_nodes) < GOOD.num_nodes - 5, GOOD.labels % 3, 3)
    dataset = {"kind": "files", "path": "unread", "min_class_labels": 6}
    [line, _] = told(replace(GOOD, labels=labels), dataset=dataset)
    assert line.startswith("class 'class 3' alone has fewer labels than dataset.min_class_labels = 6")


def test_a_graph_without_edges_is_told():
    [line] = told(replace(GOOD, adjacency=joined(np.zeros((2, 0), np.int64))))
    assert line.startswith("there is no edge")


@pytest.mark.parametrize(("num_test", "told_off"), [(96, "10"), (20, "22")])
def test_few_test_nodes_are_told_with_how_far_they_may_lead_off(num_test, told_off):
    fractions = {"train_fraction": 0.5, "val_fraction": 0.5 - num_test / 400}
    [line] = told(GOOD, dataset={"kind": "files", "path": "unread", **fractions})
    assert line.startswith(
        f"{num_test} test nodes are few: what is measured on them may be up to {told_off} "
    )


def with_column(values):
    return replace(GOOD, features=np.column_stack([GOOD.features, values]).astype(np.float32))


def test_a_copy_of_the_label_is_told_by_its_name():
    names = (*(f"column{index}" for index in range(32)), "status")
    source = Source(EdgeCounts(0, 0, 0, 0), feature_names=names)
    [line] = told(with_column(GOOD.labels == 2), source)
    assert line.startswith("feature status: the same for all nodes of a class and not for all classes")


def test_a_raw_column_that_says_the_label_is_told_once_by_its_name():
    words = np.array(["red", "green", "blue", "white"])[GOOD.labels]
    columns = raw_columns("mine", pa.table({"size": GOOD.features[:, 0], "colour": words}), FeaturesConfig())
    features = fit_columns(columns, np.arange(GOOD.num_nodes)).features
    [line] = advice(ExperimentConfig(name="mine"), Dataset(replace(GOOD, features=features), columns=columns))
    assert line.startswith("feature colour: the same for all nodes of a class")
