"""Who is learnt from, validated on, tested and held out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbm_training.config import DatasetConfig
from rbm_training.config.dataset import FRACTIONS
from rbm_training.data.graph import NOBODY, UNLABELLED, Graph, GraphError, Integers, Split


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """Masks of S published splits, each (S, N) bool."""

    train: npt.NDArray[np.bool_]
    val: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]


def draw_split(graph: Graph, config: DatasetConfig, seed: int) -> Split:
    """Draw training and validation nodes from each class; all other labelled nodes are test nodes.

    A class with too few labels for the numbers asked for shares out what it has in their proportion, and the
    first of them is learnt from. In the inductive setting a share of the test nodes is held out as unseen.

    Raises:
        GraphError: no label is left to select on or to test on.
    """
    generator = np.random.default_rng(seed)
    train, val, rest = [], [], []
    for label in range(graph.num_classes):
        members = generator.permutation(np.flatnonzero(graph.labels == label))
        num_train, num_val = _sizes(len(members), config)
        train.append(members[:num_train])
        val.append(members[num_train : num_train + num_val])
        rest.append(members[num_train + num_val :])
    others = np.sort(np.concatenate(rest))
    if not len(others):
        raise GraphError(graph.name, "no label beside those of training and validation", "some to test on")
    test, unseen = _hold_out(others, config, generator)
    observed_val, pseudo_unseen = _hold_out_val(np.sort(np.concatenate(val)), config, seed)
    return Split(np.sort(np.concatenate(train)), observed_val, test, unseen, pseudo_unseen)


def _sizes(num_labels: int, config: DatasetConfig) -> tuple[int, int]:
    """How many of a class's labels are learnt from, and how many are selected on."""
    if config.train_fraction is not None and config.val_fraction is not None:
        train, val = config.train_fraction, config.val_fraction
    else:
        assert config.train_per_class is not None
        assert config.val_per_class is not None
        num_train, num_val = config.train_per_class, config.val_per_class
        if num_labels > num_train + num_val:
            return num_train, num_val
        total = num_train + num_val + min(num_train, num_val)  # as many to test on
        train, val = num_train / total, num_val / total
    num_train = min(num_labels, max(1, round(train * num_labels)))
    return num_train, min(num_labels - num_train, round(val * num_labels))


def published_split(graph: Graph, published: PublishedSplit, config: DatasetConfig, seed: int) -> Split:
    """The masks that came with the graph; of several splits, the seed's.

    Where no node is to be selected on, a share of each class's training nodes is, drawn with the seed.
    Inductive: the whole test mask is unseen, and labelled nodes in no mask are the observed test nodes.

    Raises:
        GraphError: inductive, and the test mask is empty.
    """
    which = seed % published.train.shape[0]
    masks = (published.train[which], published.val[which], published.test[which])
    train, val, test = (np.flatnonzero(mask) for mask in masks)
    if not len(val):
        train, val = _carve_val(graph, train, config, seed)
    if config.setting == "transductive":
        return Split(train, val, test, NOBODY)
    if not len(test):
        raise GraphError(graph.name, "no node in the test mask", "nodes to hold out (setting 'inductive')")
    in_no_mask = ~np.logical_or.reduce(masks) & (graph.labels != UNLABELLED)
    observed_val, pseudo_unseen = _hold_out_val(val, config, seed)
    return Split(train, observed_val, np.flatnonzero(in_no_mask), test, pseudo_unseen)


def _carve_val(graph: Graph, train: Integers, config: DatasetConfig, seed: int) -> tuple[Integers, Integers]:
    """Training nodes that stay such, and those that are selected on instead, in their proportion."""
    train_share = config.train_fraction or FRACTIONS["train_fraction"]
    val_share = config.val_fraction or FRACTIONS["val_fraction"]
    generator, kept, val = np.random.default_rng(seed), [], []
    for label in np.unique(graph.labels[train]):
        members = generator.permutation(train[graph.labels[train] == label])
        num_val = min(len(members) - 1, round(len(members) * val_share / (train_share + val_share)))
        val.append(members[:num_val])
        kept.append(members[num_val:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(val))


def _hold_out_val(val: Integers, config: DatasetConfig, seed: int) -> tuple[Integers, Integers]:
    """Validation nodes that stay in the graph, at least one of them, and those held out of it (inductive)."""
    if config.setting == "transductive":
        return val, NOBODY
    num_held_out = min(round(config.pseudo_unseen_fraction * len(val)), len(val) - 1)
    shuffled = np.random.default_rng([seed, len(val)]).permutation(val)
    return np.sort(shuffled[num_held_out:]), np.sort(shuffled[:num_held_out])


def _hold_out(
    nodes: Integers, config: DatasetConfig, generator: np.random.Generator
) -> tuple[Integers, Integers]:
    if config.setting == "transductive":
        return nodes, NOBODY
    num_unseen = max(1, round(config.unseen_fraction * len(nodes)))
    shuffled = generator.permutation(nodes)
    return np.sort(shuffled[num_unseen:]), np.sort(shuffled[:num_unseen])
