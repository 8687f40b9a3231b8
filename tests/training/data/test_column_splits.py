from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.column_splits import WITHOUT_VALUE, split_by_column
from rbm_training.data.graph import UNLABELLED, GraphError, make_task

GRAPH = generate_graph(seed=1)
N = GRAPH.num_nodes
PARTS = ("train", "val", "pseudo_unseen", "test", "unseen")


def config(by="time", **fields):
    return DatasetConfig(**{"kind": "files", "path": "unread", f"{by}_column": "when"} | fields)


def parts_of(split):
    return {name: getattr(split, name) for name in PARTS}


def groups_of(ranks, split):
    """The groups of each part that has nodes."""
    return {name: set(ranks[nodes].tolist()) for name, nodes in parts_of(split).items() if len(nodes)}


def test_the_oldest_are_learnt_from_and_the_newest_tested():
    ranks = np.random.default_rng(0).permutation(N)
    split = split_by_column(GRAPH, ranks, config(), seed=0)
    sizes = {name: len(nodes) for name, nodes in parts_of(split).items()}
    assert sizes == {"train": 240, "val": 80, "pseudo_unseen": 0, "test": 80, "unseen": 0}
    assert ranks[split.train].max() < ranks[split.val].min()
    assert ranks[split.val].max() < ranks[split.test].min()
    other_seed = split_by_column(GRAPH, ranks, config(), seed=1)
    assert other_seed.train.tolist() == split.train.tolist() == sorted(split.train)


def test_what_is_as_old_stays_together():
    ranks = np.repeat([0, 1, 2, 3], [230, 90, 10, 70])
    split = split_by_column(GRAPH, ranks, config(), seed=0)
    assert groups_of(ranks, split) == {"train": {0}, "val": {1}, "test": {2, 3}}


def test_what_is_held_out_is_the_newest_of_its_part():
    ranks = np.random.default_rng(0).permutation(N)
    split = split_by_column(GRAPH, ranks, config(setting="inductive", unseen_fraction=0.25), seed=0)
    assert {name: len(nodes) for name, nodes in parts_of(split).items()} == {
        **{"train": 240, "val": 64, "pseudo_unseen": 16},
        **{"test": 60, "unseen": 20},
    }
    for older, newer in (("val", "pseudo_unseen"), ("pseudo_unseen", "test"), ("test", "unseen")):
        assert ranks[getattr(split, older)].max() < ranks[getattr(split, newer)].min()
    make_task(GRAPH, split)


@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_no_group_is_divided_and_the_shares_are_those_asked_for(setting):
    ranks = np.random.default_rng(0).choice(40, N, p=np.random.default_rng(1).dirichlet(np.ones(40)))
    splits = [split_by_column(GRAPH, ranks, config("group", setting=setting), seed) for seed in range(4)]
    for split in splits:
        groups = groups_of(ranks, split)
        assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == len(set(ranks))
        assert len(split.train) == pytest.approx(0.6 * N, abs=8)
        assert len(split.val) + len(split.pseudo_unseen) == pytest.approx(0.2 * N, abs=8)
        assert len(groups) == (5 if setting == "inductive" else 3)
        make_task(GRAPH, split)
    again = split_by_column(GRAPH, ranks, config("group", setting=setting), seed=0)
    assert again.train.tolist() == splits[0].train.tolist() != splits[1].train.tolist()


def test_of_three_groups_the_largest_is_learnt_from_and_the_only_one_to_test_on_held_out_whole():
    ranks = np.repeat([0, 1, 2], [80, 240, 80])
    split = split_by_column(GRAPH, ranks, config("group", setting="inductive"), seed=0)
    groups = groups_of(ranks, split)
    assert groups["train"] == {1}
    assert {frozenset(groups["val"]), frozenset(groups["unseen"])} == {frozenset({0}), frozenset({2})}
    assert set(groups) == {"train", "val", "unseen"}


def test_two_groups_cannot_be_divided_into_three():
    with pytest.raises(
        GraphError, match="2 different values of when among labelled nodes; wanted at least 3"
    ):
        split_by_column(GRAPH, np.arange(N) % 2, config("group"), seed=0)


def test_a_labelled_node_without_a_value_is_refused_and_an_unlabelled_one_is_not_asked():
    ranks = np.arange(N)
    ranks[[3, 5]] = WITHOUT_VALUE
    with pytest.raises(GraphError, match="2 labelled nodes without a value of when"):
        split_by_column(GRAPH, ranks, config(), seed=0)
    labels = GRAPH.labels.copy()
    labels[[3, 5]] = UNLABELLED
    split = split_by_column(replace(GRAPH, labels=labels), ranks, config(), seed=0)
    assert not {3, 5} & set(np.concatenate([*parts_of(split).values()]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group_column": "who"}, "both dataset.group_column and dataset.time_column"),
        (
            {"train_per_class": 5},
            "dataset.time_column with dataset.train_per_class = 5; wanted dataset.train_",
        ),
        ({"kind": "digits", "path": None}, "dataset.time_column with dataset.kind = 'digits'"),
    ],
)
def test_what_does_not_go_with_a_column_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        config(**fields)
