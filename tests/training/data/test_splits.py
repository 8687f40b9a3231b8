from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.graph import UNLABELLED, GraphError, Split, make_task
from rbm_training.data.loading import load_dataset
from rbm_training.data.splits import PublishedSplit, draw_split, published_split
from rbm_training.evaluation.untrained_classes import in_words

GRAPH = generate_graph(seed=1)


def config(**fields):
    return DatasetConfig(kind="synthetic", **{"train_per_class": 10, "val_per_class": 20} | fields)


def test_each_class_gets_its_share_and_all_others_are_test_nodes():
    split = draw_split(GRAPH, config(), seed=3)
    assert np.bincount(GRAPH.labels[split.train]).tolist() == [10] * 4
    assert np.bincount(GRAPH.labels[split.val]).tolist() == [20] * 4
    everyone = np.concatenate([split.train, split.val, split.test, split.unseen, split.pseudo_unseen])
    assert sorted(everyone) == list(range(GRAPH.num_nodes))


def test_a_seed_fixes_the_split_and_another_seed_changes_it():
    first, again, other = (draw_split(GRAPH, config(), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


def test_the_inductive_setting_holds_a_share_of_the_test_nodes_out():
    split = draw_split(GRAPH, config(setting="inductive", unseen_fraction=0.25), seed=3)
    assert (len(split.unseen), len(split.test)) == (70, 210)


def with_labels(counts):
    """The graph with so many labels of each class, and none else."""
    labels = np.full(GRAPH.num_nodes, UNLABELLED)
    for label, count in enumerate(counts):
        labels[np.flatnonzero(GRAPH.labels == label)[:count]] = label
    return replace(GRAPH, labels=labels)


@pytest.mark.parametrize("count", [30, 29, 5, 2, 1])
def test_a_class_with_too_few_labels_shares_them_out(count):
    graph = with_labels([100, 100, 100, count])
    split = draw_split(graph, config(), seed=0)
    train, val, test = (
        np.bincount(graph.labels[nodes], minlength=4) for nodes in (split.train, split.val, split.test)
    )
    assert train[:3].tolist() == [10] * 3
    assert val[:3].tolist() == [20] * 3
    assert train[3] >= 1
    assert train[3] + val[3] + test[3] == count
    if count >= 29:
        assert 0 < test[3] < count / 3


def test_labels_that_leave_none_to_test_on_are_refused():
    with pytest.raises(GraphError, match="no label beside those of training and validation"):
        draw_split(with_labels([1, 1, 1, 1]), config(), seed=0)


def test_fractions_are_taken_of_each_class():
    graph = with_labels([100, 50, 10, 1])
    own = DatasetConfig(kind="files", path="unread", train_fraction=0.5)
    split = draw_split(graph, own, seed=0)
    counts = [
        np.bincount(graph.labels[nodes], minlength=4).tolist()
        for nodes in (split.train, split.val, split.test)
    ]
    assert counts == [[50, 25, 5, 1], [20, 10, 2, 0], [30, 15, 3, 0]]


def test_a_graph_of_ones_own_is_learnt_from_by_fractions_and_a_benchmark_by_counts():
    own = DatasetConfig(kind="files", path="unread")
    assert (own.train_fraction, own.val_fraction, own.train_per_class, own.val_per_class) == (
        0.6,
        0.2,
        None,
        None,
    )
    benchmark = DatasetConfig(kind="named", name="cora")
    assert (benchmark.train_fraction, benchmark.train_per_class, benchmark.val_per_class) == (None, 20, 30)
    assert DatasetConfig(kind="files", path="unread", val_per_class=7).train_per_class == 20
    assert DatasetConfig(kind="named", name="cora", train_fraction=0.5).val_fraction == 0.2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_per_class": 5, "train_fraction": 0.5}, "both train_per_class and train_fraction"),
        (
            {"train_fraction": 0.8},
            "train_fraction = 0.8 and dataset.val_fraction = 0.2; wanted a sum below 1",
        ),
    ],
)
def test_numbers_that_cannot_be_shared_out_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DatasetConfig(kind="named", name="cora", **fields)


def test_validation_nodes_are_taken_from_training_where_a_published_split_has_none():
    published = masks(np.arange(100, 200), np.arange(0), np.arange(300, 400))
    split, again = (published_split(GRAPH, published, config(), seed=3) for _ in range(2))
    assert sorted([*split.train, *split.val]) == list(range(100, 200))
    assert len(split.val) == pytest.approx(25, abs=4)
    assert split.val.tolist() == again.val.tolist()
    assert split.test.tolist() == list(range(300, 400))


def test_a_share_of_the_validation_nodes_is_held_out_as_well():
    transductive = draw_split(GRAPH, config(), seed=3)
    split = draw_split(GRAPH, config(setting="inductive", pseudo_unseen_fraction=0.3), seed=3)
    assert (len(split.val), len(split.pseudo_unseen)) == (56, 24)
    assert sorted([*split.val, *split.pseudo_unseen]) == transductive.val.tolist()
    assert len(transductive.pseudo_unseen) == 0
    none = draw_split(GRAPH, config(setting="inductive", pseudo_unseen_fraction=0.0), seed=3)
    assert (none.val.tolist(), len(none.pseudo_unseen)) == (transductive.val.tolist(), 0)


def test_a_seed_fixes_who_is_held_out_of_validation():
    published = masks(np.arange(40), np.arange(40, 80), np.arange(80, 120))
    inductive = config(setting="inductive", pseudo_unseen_fraction=0.5)
    first, again, other = (published_split(GRAPH, published, inductive, seed) for seed in (3, 3, 4))
    assert len(first.pseudo_unseen) == 20
    assert first.pseudo_unseen.tolist() == again.pseudo_unseen.tolist() != other.pseudo_unseen.tolist()
    assert first.test.tolist() == other.test.tolist()  # which validation nodes never become
    assert len(published_split(GRAPH, published, config(), seed=3).pseudo_unseen) == 0


def test_one_validation_node_at_least_stays_in_the_graph():
    published = masks(np.arange(40), np.arange(40, 41), np.arange(80, 120))
    split = published_split(
        GRAPH, published, config(setting="inductive", pseudo_unseen_fraction=0.99), seed=0
    )
    assert (split.val.tolist(), len(split.pseudo_unseen)) == ([40], 0)


def masks(*parts):
    rows = np.zeros((3, GRAPH.num_nodes), bool)
    for row, part in zip(rows, parts, strict=True):
        row[part] = True
    return PublishedSplit(*(row[None] for row in rows))


def test_a_published_test_mask_is_held_out_whole():
    published = masks(np.arange(40), np.arange(40, 80), np.arange(80, 120))
    transductive = published_split(GRAPH, published, config(), seed=0)
    assert (transductive.test.tolist(), len(transductive.unseen)) == (list(range(80, 120)), 0)
    inductive = published_split(GRAPH, published, config(setting="inductive"), seed=0)
    assert (inductive.unseen.tolist(), len(inductive.test)) == (list(range(80, 120)), 280)


def test_an_inductive_run_without_a_test_mask_is_refused():
    published = masks(np.arange(40), np.arange(40, 80), np.arange(0))
    with pytest.raises(GraphError, match="nodes to hold out"):
        published_split(GRAPH, published, config(setting="inductive"), seed=0)


def test_a_class_without_a_training_label_is_told_with_its_test_nodes():
    few = np.flatnonzero(GRAPH.labels < 2)
    others = np.flatnonzero(GRAPH.labels >= 2)
    split = published_split(GRAPH, masks(few[:100], few[100:], others[10:]), config(), seed=0)
    in_test = np.bincount(GRAPH.labels[others[10:]])
    untrained = make_task(GRAPH, split).untrained_classes
    assert untrained == {"class 2": in_test[2], "class 3": in_test[3]}
    assert in_words(untrained).startswith(f"class 'class 2' has no training label, so its {in_test[2]} test")
    assert in_words({"rare": 0}) == "class 'rare' has no training label and no test node"
    assert in_words(dict.fromkeys(map(str, range(15)), 1)).endswith("and so have 3 more classes")


NOBODY = np.array([], np.int64)
ONE_CLASS = np.flatnonzero(GRAPH.labels == 0)[-5:]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(NOBODY, np.arange(5), np.arange(5, 9), NOBODY), "no train node"),
        (Split(ONE_CLASS, np.arange(40, 50), np.arange(50, 90), NOBODY), "of class 'class 0' alone"),
        (Split(np.arange(40), NOBODY, np.arange(50, 90), NOBODY), "no val node"),
        (Split(np.arange(40), np.arange(40, 50), NOBODY, NOBODY), "no test node"),
        (Split(np.arange(40), np.arange(30, 50), np.arange(60, 70), NOBODY), "a node in two of"),
        (Split(np.arange(40), np.arange(40, 50), NOBODY, np.arange(60, 70), np.arange(45, 47)), "in two of"),
    ],
)
def test_a_split_nothing_can_be_learnt_from_is_refused(split, message):
    with pytest.raises(GraphError, match=message):
        make_task(GRAPH, split)


def test_the_digits_are_the_promised_graph():
    dataset = load_dataset(DatasetConfig(kind="digits"))
    graph = dataset.graph
    assert (graph.num_nodes, graph.num_features, graph.num_classes) == (1797, 64, 10)
    assert np.diff(graph.adjacency.indptr).min() >= 10
    assert dataset.sha256 == load_dataset(DatasetConfig(kind="digits")).sha256
