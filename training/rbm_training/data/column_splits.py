"""Splits by a column of the nodes: whole groups, or older nodes before newer ones.

Dimension letters: N nodes, G groups of labelled nodes, one for each different value.
"""

from typing import Final

import numpy as np

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import UNLABELLED, Graph, GraphError, Integers, Split

WITHOUT_VALUE: Final = -1
NUM_ORDERS: Final = 100  # of groups, drawn with the seed, of which the one nearest to the fractions is kept
MIN_GROUPS: Final = 3


def split_by_column(graph: Graph, ranks: Integers, config: DatasetConfig, seed: int) -> Split:
    """Cut the groups of labelled nodes, in a drawn order or in that of time, into training, validation and
    test.

    Inductive: the last groups of the test nodes are held out as unseen, and the last ones of the validation
    nodes, unless it is the only one, as pseudo-unseen.

    Args:
        ranks: (N,), the place of each node's value among the different ones in rising order, `WITHOUT_VALUE`
            where there is none.

    Raises:
        GraphError: a labelled node without a value, or fewer than three groups.
    """
    labelled = np.flatnonzero(graph.labels != UNLABELLED)
    values, group, sizes = np.unique(ranks[labelled], return_inverse=True, return_counts=True)
    if values[0] == WITHOUT_VALUE:
        raise GraphError(
            graph.name,
            f"{sizes[0]:,} labelled nodes without a value of {config.split_column}",
            "one for every labelled node, or null for its label",
        )
    if len(sizes) < MIN_GROUPS:
        raise GraphError(
            graph.name,
            f"{len(sizes)} different values of {config.split_column} among labelled nodes",
            f"at least {MIN_GROUPS}: to learn from, to select on and to test on",
        )
    order = np.arange(len(sizes)) if config.group_column is None else _nearest_order(sizes, config, seed)
    by_place = labelled[np.argsort(np.argsort(order)[group], kind="stable")]
    cuts = _ends(sizes[order])[_cuts(sizes[order], config)]
    train, val, pseudo_unseen, test, unseen = map(np.sort, np.split(by_place, cuts))
    return Split(train, val, test, unseen, pseudo_unseen)


def _cuts(sizes: Integers, config: DatasetConfig) -> list[int]:
    """How many groups come before validation, pseudo-unseen, test and unseen nodes, of groups in order (G,).

    Each cut lies where the nodes before it are nearest to what the fractions ask for.
    """
    assert config.train_fraction is not None
    assert config.val_fraction is not None
    ends, num_groups = _ends(sizes), len(sizes)

    def nearest(num_nodes: float, low: int, high: int) -> int:
        return low + int(np.abs(ends[low : high + 1] - num_nodes).argmin())

    val = nearest(config.train_fraction * ends[-1], 1, num_groups - 2)
    test = nearest((config.train_fraction + config.val_fraction) * ends[-1], val + 1, num_groups - 1)
    if config.setting == "transductive":
        return [val, test, test, num_groups]
    num_pseudo_unseen = config.pseudo_unseen_fraction * (ends[test] - ends[val])
    num_unseen = config.unseen_fraction * (ends[-1] - ends[test])
    pseudo_unseen = nearest(ends[test] - num_pseudo_unseen, val + 1, test)
    unseen = nearest(ends[-1] - num_unseen, test, num_groups - 1)
    return [val, pseudo_unseen, test, unseen]


def _nearest_order(sizes: Integers, config: DatasetConfig, seed: int) -> Integers:
    """Of several drawn orders of groups the one whose cuts come nearest to the fractions."""
    assert config.train_fraction is not None
    assert config.val_fraction is not None
    generator = np.random.default_rng(seed)
    wanted = np.cumsum([config.train_fraction, config.val_fraction]) * sizes.sum()

    def distance(order: Integers) -> float:
        val, _, test, _ = _cuts(sizes[order], config)
        return float(np.abs(_ends(sizes[order])[[val, test]] - wanted).sum())

    return min((generator.permutation(len(sizes)) for _ in range(NUM_ORDERS)), key=distance)


def _ends(sizes: Integers) -> Integers:
    """Nodes in the first groups, from none of them to all: (G + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes)])
