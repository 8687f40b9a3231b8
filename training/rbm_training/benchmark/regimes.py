"""Where RbM beats the MLP of its FLOPs: named on some seeds by validation, confirmed on others by test.

What is looked for among many cells is found by chance in some of them. So a regime is named without the test
accuracy and without the seeds that confirm it, and the tests of all regimes named are corrected together
(Holm 1979).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import t as student_t

from rbm_training.benchmark.statistics import (
    CONFIDENCE,
    Cell,
    CellRuns,
    Difference,
    Measure,
    is_rbm,
    mlp_of_its_flops,
    paired_difference,
)

NAMED_ON: Final = range(5)
"""Seeds that regimes are named on."""
MIN_FRESH_SEEDS: Final = 5


@dataclass(frozen=True, slots=True)
class Regime:
    """A cell and a pair of students of which the first is better on validation.

    `fresh` is the difference of their test accuracies on the other seeds, None where they share none;
    `p_value` its two-sided p of the paired t-test, Holm-corrected over all regimes named, None under
    five fresh seeds.
    """

    cell: Cell
    method: str
    rival: str
    named: Difference
    fresh: Difference | None
    p_value: float | None = None

    @property
    def is_confirmed(self) -> bool:
        """Whether the first student is better on fresh seeds too."""
        is_ahead = self.fresh is not None and self.fresh.mean > 0
        return is_ahead and self.p_value is not None and self.p_value < 1 - CONFIDENCE


def find_regimes(cells: Iterable[CellRuns]) -> list[Regime]:
    """The cells in which RbM or a variant of it is ahead of the MLP of its FLOPs on validation, the interval
    of the seeds from 0 to 4 above zero; those that fresh seeds test come first."""
    tested, untested, p_values = [], [], []
    for runs in cells:
        for regime in _named(runs):
            fresh = regime.fresh
            if fresh is None or fresh.num_seeds < MIN_FRESH_SEEDS:
                untested.append(regime)
            else:
                tested.append(regime)
                p_values.append(_p_value(fresh))
    corrected = zip(tested, holm(p_values), strict=True)
    return [replace(regime, p_value=p_value) for regime, p_value in corrected] + untested


def _named(runs: CellRuns) -> Iterator[Regime]:
    for method in filter(is_rbm, runs.runs):
        rival = mlp_of_its_flops(method)
        named = _difference(runs, method, rival, "val_accuracy", is_fresh=False)
        if named is not None and named.verdict == "better":
            fresh = _difference(runs, method, rival, "test_accuracy", is_fresh=True)
            yield Regime(runs.cell, method, rival, named, fresh)


def _difference(
    runs: CellRuns, method: str, rival: str, measure: Measure, *, is_fresh: bool
) -> Difference | None:
    ours, theirs = (
        {seed: value for seed, value in values.items() if (seed not in NAMED_ON) == is_fresh}
        for values in (runs.by_seed(method, measure), runs.by_seed(rival, measure))
    )
    return paired_difference(ours, theirs)


def _p_value(difference: Difference) -> float:
    """Two-sided p of a paired t-test; differences that are all equal are as certain as can be."""
    error = difference.standard_error
    if not error:
        return 0.0 if difference.mean else 1.0
    return float(2 * student_t.sf(abs(difference.mean) / error, difference.num_seeds - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of n times n − k + 1, made to rise, 1 at most."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    return [float(value) for value in corrected]
