"""Rare classes taken for one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rbm_training.data.graph import UNLABELLED, Graph, GraphError

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class MergedClasses:
    """The class that rare ones have become, and how many labels each of them had."""

    name: str
    sizes: Mapping[str, int]


def merge_rare_classes(graph: Graph, min_labels: int) -> tuple[Graph, MergedClasses | None]:
    """Take all classes of fewer labels for one, the last; one that is alone in that keeps its name.

    It is called `other`, with underscores behind where a class is called so that is not rare.

    Raises:
        GraphError: no class has so many labels.
    """
    sizes = graph.class_sizes
    is_rare = sizes < min_labels
    if is_rare.all():
        raise GraphError(
            graph.name,
            f"dataset.min_class_labels = {min_labels}, and at most {sizes.max():,} labels in a class",
            "a number that some class has",
        )
    if is_rare.sum() < 2:
        return graph, None
    kept = [name for name, rare in zip(graph.class_names, is_rare, strict=True) if not rare]
    other = OTHER
    while other in kept:
        other += "_"
    numbers = np.where(is_rare, len(kept), np.cumsum(~is_rare) - 1)
    labels = np.where(graph.labels == UNLABELLED, UNLABELLED, numbers[graph.labels])
    merged = {graph.class_names[label]: int(sizes[label]) for label in np.flatnonzero(is_rare)}
    return replace(graph, labels=labels, class_names=(*kept, other)), MergedClasses(other, merged)
