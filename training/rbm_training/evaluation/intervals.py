"""How far a share of some nodes may be from that of all nodes like them."""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

NORMAL_95: Final = 1.96  # standard errors, within which the mean lies in 95 of 100 cases

Marks = npt.NDArray[np.bool_]


def share_interval(share: float, num_nodes: int) -> tuple[float, float]:
    """95 % interval of a share of some nodes (Wilson 1927), which holds for few nodes too; NaN for none."""
    if not num_nodes:
        return math.nan, math.nan
    interval = binomtest(round(share * num_nodes), num_nodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def lead_error(first: Marks, second: Marks) -> float:
    """Standard error of the lead of one over another in the share of right answers, both given to the same
    nodes: each (number of nodes,), whether an answer is right.

    Half a node is added to each of the four cases (Agresti & Min 2005): a few nodes that all speak for one
    side would have no error else.
    """
    ahead, behind = (first & ~second).sum() + 0.5, (second & ~first).sum() + 0.5
    num_nodes = len(first) + 2
    return float(math.sqrt(ahead + behind - (ahead - behind) ** 2 / num_nodes) / num_nodes)


def mean_error(errors: npt.NDArray[np.floating[Any]], values: npt.NDArray[np.floating[Any]]) -> float:
    """Standard error of the mean of values over seeds, each with an error of its own: (S,) and (S,).

    The nodes may be the same for all seeds, so that more seeds do not make their part of it smaller.
    """
    over_seeds = float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0
    return math.sqrt(float(np.mean(errors**2)) + over_seeds)
