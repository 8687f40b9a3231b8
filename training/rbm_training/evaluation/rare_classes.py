"""Classes that few nodes have, of which accuracy says nothing.

Dimension letters: T test nodes, C classes.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from rbm_training.evaluation.metrics import RareClass

RARE_SHARE: Final = 0.5  # of what a class would have if all had as many nodes

Probabilities = npt.NDArray[np.floating[Any]]


def rare_classes(
    labels: npt.NDArray[np.integer[Any]],
    student: Probabilities,
    teacher: Probabilities,
    baseline: Probabilities,
    names: Sequence[str],
) -> list[RareClass]:
    """The classes with less than half the test nodes that they would have if all had as many (of two, less
    than a quarter of the nodes), the rarest first. A class of no node has no curve.

    Shapes: labels (T,); probabilities (T, C).
    """
    sizes = np.bincount(labels, minlength=len(names))
    is_rare = (sizes > 0) & (sizes < RARE_SHARE * len(labels) / len(names))
    found = [index for index in np.argsort(sizes, kind="stable") if is_rare[index]]
    return [
        RareClass(
            name=names[index],
            num_nodes=int(sizes[index]),
            share=float(sizes[index] / len(labels)),
            student=_area(labels == index, student[:, index]),
            teacher=_area(labels == index, teacher[:, index]),
            baseline=_area(labels == index, baseline[:, index]),
        )
        for index in found
    ]


def _area(is_class: npt.NDArray[np.bool_], scores: Probabilities) -> float:
    return float(average_precision_score(is_class, scores))
