"""Runs of grids, made up: MLPs of three sizes and mixtures of two."""

from rbm_training.benchmark.records import RunLine
from rbm_training.benchmark.statistics import CellRuns, group_by_cell
from tests.training.benchmark.run_lines import run_line

MLPS = {"mlp H=4": (1000, 0.70), "mlp H=8": (4000, 0.80), "mlp H=16": (16_000, 0.84)}
MIXTURES = {"rbm H=4 E=8": (2000, 0.78), "rbm H=8 E=8": (8000, 0.815)}
SHIFTS = (0.0, 0.01, -0.01)
"""Of all accuracies of a seed."""


def grid_lines(**changes) -> list[RunLine]:
    """Each size over three seeds: FLOPs, and as much accuracy in validation, test and agreement."""
    return [
        run_line(method=method, seed=seed, flops_per_node=flops, **(_measures(accuracy + shift) | changes))
        for method, (flops, accuracy) in (MLPS | MIXTURES).items()
        for seed, shift in enumerate(SHIFTS)
    ]


def grid_runs(**changes) -> CellRuns:
    """The only cell of these lines."""
    (runs,) = group_by_cell(grid_lines(**changes))
    return runs


def _measures(accuracy: float) -> dict[str, float]:
    return {
        "val_accuracy": accuracy,
        "test_accuracy": accuracy - 0.02,
        "test_accuracy_max": accuracy,
        "agreement": accuracy + 0.05,
        "kl": 1 - accuracy,
    }
