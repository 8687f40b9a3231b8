"""Who is learnt from, validated on, tested and held out."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import NOBODY, UNLABELLED, Graph, GraphError, Integers, Split


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """Masks of S published splits, each (S, N) bool.

    A class without a training label is taken for a mistake unless the split is known to have such.
    """

    train: npt.NDArray[np.bool_]
    val: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]
    may_lack_classes: bool = field(default=False, kw_only=True)


def draw_split(graph: Graph, config: DatasetConfig, seed: int) -> Split:
    """Draw a fixed number of training and validation nodes a class; all other labelled nodes are test nodes.

    In the inductive setting a share of the test nodes is held out as unseen.

    Raises:
        GraphError: a class has fewer labels than training and validation ask for.
    """
    generator = np.random.default_rng(seed)
    wanted = config.train_per_class + config.val_per_class
    train, val, rest = [], [], []
    for label, name in enumerate(graph.class_names):
        members = generator.permutation(np.flatnonzero(graph.labels == label))
        if len(members) <= wanted:
            raise GraphError(
                graph.name,
                f"{len(members)} labelled nodes of class {name!r}",
                f"more than {wanted} (dataset.train_per_class + dataset.val_per_class)",
            )
        train.append(members[: config.train_per_class])
        val.append(members[config.train_per_class : wanted])
        rest.append(members[wanted:])
    others = np.sort(np.concatenate(rest))
    test, unseen = _hold_out(others, config, generator)
    observed_val, pseudo_unseen = _hold_out_val(np.sort(np.concatenate(val)), config, seed)
    return Split(np.sort(np.concatenate(train)), observed_val, test, unseen, pseudo_unseen)


def published_split(graph: Graph, published: PublishedSplit, config: DatasetConfig, seed: int) -> Split:
    """The masks that came with the graph; of several splits, the seed's.

    Inductive: the whole test mask is unseen, and labelled nodes in no mask are the observed test nodes.

    Raises:
        GraphError: inductive, and the test mask is empty; a class without a training label.
    """
    which = seed % published.train.shape[0]
    masks = (published.train[which], published.val[which], published.test[which])
    train, val, test = (np.flatnonzero(mask) for mask in masks)
    if not published.may_lack_classes:
        _check_classes(graph, train)
    if config.setting == "transductive":
        return Split(train, val, test, NOBODY)
    if not len(test):
        raise GraphError(graph.name, "no node in the test mask", "nodes to hold out (setting 'inductive')")
    in_no_mask = ~np.logical_or.reduce(masks) & (graph.labels != UNLABELLED)
    observed_val, pseudo_unseen = _hold_out_val(val, config, seed)
    return Split(train, observed_val, np.flatnonzero(in_no_mask), test, pseudo_unseen)


def _hold_out_val(val: Integers, config: DatasetConfig, seed: int) -> tuple[Integers, Integers]:
    """Validation nodes that stay in the graph, at least one of them, and those held out of it (inductive)."""
    if config.setting == "transductive":
        return val, NOBODY
    num_held_out = min(round(config.pseudo_unseen_fraction * len(val)), len(val) - 1)
    shuffled = np.random.default_rng([seed, len(val)]).permutation(val)
    return np.sort(shuffled[num_held_out:]), np.sort(shuffled[:num_held_out])


def _check_classes(graph: Graph, train: Integers) -> None:
    missing = np.setdiff1d(np.arange(graph.num_classes), graph.labels[train])
    if len(missing):
        names = ", ".join(repr(graph.class_names[index]) for index in missing[:5])
        raise GraphError(
            graph.name, f"no training label for class {names}", "a training label for each class"
        )


def _hold_out(
    nodes: Integers, config: DatasetConfig, generator: np.random.Generator
) -> tuple[Integers, Integers]:
    if config.setting == "transductive":
        return nodes, NOBODY
    num_unseen = max(1, round(config.unseen_fraction * len(nodes)))
    shuffled = generator.permutation(nodes)
    return np.sort(shuffled[num_unseen:]), np.sort(shuffled[:num_unseen])
