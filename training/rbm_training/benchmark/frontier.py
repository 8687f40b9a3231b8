"""Quality against cost: the students of a grid that none beats, and how far a mixture is ahead of the MLP of
the same cost.

There is hardly ever an MLP of just that cost, so its quality is read between the two of the grid that are
next to it, on a logarithmic axis of costs, and never beyond the cheapest and the dearest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rbm_training.benchmark.grid import family_of
from rbm_training.benchmark.statistics import CellRuns, Difference, Estimate, paired_difference
from rbm_training.reporting.figures.cost import pareto_front

MLP: Final = "mlp"
"""The family that others are measured against."""

Cost = Literal["flops_per_node", "sparse_flops_per_node", "latency_us_1", "latency_us_128"]
Quality = Literal["val_accuracy", "test_accuracy", "agreement", "kl"]


@dataclass(frozen=True, slots=True)
class Point:
    """A student of a grid: what it costs, and how good it is over the seeds."""

    method: str
    cost: float
    quality: Estimate


def families(runs: CellRuns) -> list[str]:
    """Methods that have a grid, the MLP first."""
    found = {family_of(method) for method in runs.runs}
    return sorted(found, key=lambda family: (family != MLP, family))


def points_of_family(runs: CellRuns, family: str, cost: Cost, quality: Quality) -> list[Point]:
    """The students of a family of which both are known, the cheapest first."""
    points = []
    for method in runs.runs:
        price, found = runs.estimate(method, cost), runs.estimate(method, quality)
        if family_of(method) == family and price is not None and found is not None:
            points.append(Point(method, price.mean, found))
    return sorted(points, key=lambda point: (point.cost, point.method))


def unbeaten(runs: CellRuns, cost: Cost, quality: Quality) -> list[Point]:
    """The students of all families that no other beats in both, the cheapest first."""
    points = [point for family in families(runs) for point in points_of_family(runs, family, cost, quality)]
    costs = np.array([point.cost for point in points])
    means = np.array([point.quality.mean for point in points])
    return [points[row] for row in pareto_front(costs, means)]


def flops_of(runs: CellRuns) -> Cost:
    """How the FLOPs of a cell are counted: without the zeros of sparse features where it has such."""
    is_sparse = any(runs.estimate(method, "sparse_flops_per_node") for method in runs.runs)
    return "sparse_flops_per_node" if is_sparse else "flops_per_node"


def lead(runs: CellRuns, method: str, cost: Cost, quality: Quality) -> Difference | None:
    """Quality of a student minus that of the MLP of its cost, seed by seed.

    None where its cost is not known, or below or above that of all MLPs.
    """
    price = runs.estimate(method, cost)
    if price is None:
        return None
    ours = runs.by_seed(method, quality)
    return paired_difference(ours, _mlp_of_cost(runs, price.mean, cost, quality))


def best_by_validation(runs: CellRuns, family: str) -> str | None:
    """The student of a family whose mean lead over the MLP of its FLOPs is highest in validation accuracy."""
    flops = flops_of(runs)
    leads = {
        point.method: found.mean
        for point in points_of_family(runs, family, flops, "val_accuracy")
        if (found := lead(runs, point.method, flops, "val_accuracy"))
    }
    return max(leads, key=leads.__getitem__, default=None)


def _mlp_of_cost(runs: CellRuns, wanted: float, cost: Cost, quality: Quality) -> Mapping[int, float]:
    """What an MLP of a cost would reach, by seed."""
    mlps = points_of_family(runs, MLP, cost, quality)
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for mlp in mlps:
        for seed, value in runs.by_seed(mlp.method, quality).items():
            by_seed.setdefault(seed, []).append((math.log(mlp.cost), value))
    found = {}
    for seed, known in by_seed.items():
        logarithms, values = zip(*known, strict=True)
        found[seed] = float(np.interp(math.log(wanted), logarithms, values, left=math.nan, right=math.nan))
    return {seed: value for seed, value in found.items() if not math.isnan(value)}
