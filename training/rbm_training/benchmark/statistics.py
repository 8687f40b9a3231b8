"""Statistics of a comparison: means over seeds, and differences paired by seed.

A seed fixes split, teacher and positions. Two students of one seed share them, so differences are taken seed
by seed and averaged after.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from scipy.stats import t as student_t

from rbm_bundle.manifest_parts import Setting
from rbm_training.benchmark.records import Protocol, RunLine
from rbm_training.evaluation.metrics import mean_and_deviation

CONFIDENCE: Final = 0.95
EQUIVALENT: Final = 0.005
"""Accuracies that are shown to differ by less than half a point are equivalent."""
MIN_SEEDS_FOR_INTERVAL: Final = 3
"""Two differences of accuracies of few nodes are often equal, which would look like certainty."""

POINTS_BELOW_TEACHER: Final = 0.03
RBM: Final = "rbm"
RBM_HEAD: Final = "rbm-head"
RELEASED_RBM: Final = "released-rbm"

Measure = Literal[
    "val_accuracy",
    "test_accuracy",
    "observed_test_accuracy",
    "production_accuracy",
    "agreement",
    "kl",
    "num_parameters",
    "flops_per_node",
    "sparse_flops_per_node",
    "latency_us_1",
    "latency_us_128",
    "seconds",
]
Verdict = Literal["better", "equivalent", "undecided", "worse"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What students are compared on: one task and one teacher."""

    protocol: Protocol
    setting: Setting
    teacher: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over seeds and sample standard deviation, None for a single seed."""

    mean: float
    deviation: float | None
    num_seeds: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean over shared seeds and its standard error, None under three seeds."""

    mean: float
    standard_error: float | None
    num_seeds: int

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval of the mean (paired t), None without a standard error."""
        return self._half_width((1 + CONFIDENCE) / 2)

    @property
    def verdict(self) -> Verdict:
        """Whether the interval lies above zero or below it; if neither, whether the two one-sided tests at
        5 % (TOST: the 90 % interval) show that the difference is less than half a point."""
        half_width, one_sided = self.half_width, self._half_width(CONFIDENCE)
        if half_width is None or one_sided is None:
            return "undecided"
        if abs(self.mean) > half_width:
            return "better" if self.mean > 0 else "worse"
        return "equivalent" if abs(self.mean) + one_sided < EQUIVALENT else "undecided"

    def _half_width(self, quantile: float) -> float | None:
        if self.standard_error is None:
            return None
        return float(student_t.ppf(quantile, self.num_seeds - 1)) * self.standard_error


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and deviation; None without values."""
    found = list(values)
    if not found:
        return None
    mean, deviation = mean_and_deviation(found)
    return Estimate(mean, deviation, len(found))


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Ours minus theirs over the seeds that both have; None when they share none."""
    differences = estimate(ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys()))
    if differences is None:
        return None
    n, deviation = differences.num_seeds, differences.deviation
    has_error = deviation is not None and n >= MIN_SEEDS_FOR_INTERVAL
    return Difference(differences.mean, deviation / n**0.5 if has_error else None, n)


def is_rbm(method: str) -> bool:
    """Whether a student is RbM or a variant of it, and so no baseline."""
    return method in (RBM, RELEASED_RBM) or method.startswith(f"{RBM}-")


def mlp_of_its_flops(method: str) -> str:
    """The MLP that is to cost what RbM or a variant of it costs: `mlp-flops-head` of `rbm-head`."""
    return f"mlp-flops{method.removeprefix('released-').removeprefix(RBM)}"


@dataclass(frozen=True, slots=True)
class CellRuns:
    """The runs of one cell by method and seed."""

    cell: Cell
    runs: Mapping[str, Mapping[int, RunLine]]

    def by_seed(self, method: str, measure: Measure) -> dict[int, float]:
        """A measure of a method's runs, those that have it."""
        found = {seed: getattr(line, measure) for seed, line in self.runs.get(method, {}).items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def estimate(self, method: str, measure: Measure) -> Estimate | None:
        """A measure of a method over its seeds."""
        return estimate(self.by_seed(method, measure).values())

    def teacher_estimate(self) -> Estimate | None:
        """The teacher's test accuracy over all seeds of the cell."""
        by_seed = {
            seed: line.teacher_test_accuracy for runs in self.runs.values() for seed, line in runs.items()
        }
        return estimate(by_seed[seed] for seed in sorted(by_seed))

    def difference(self, method: str, other: str, measure: Measure = "test_accuracy") -> Difference | None:
        """A measure of one method minus another's, seed by seed."""
        return paired_difference(self.by_seed(method, measure), self.by_seed(other, measure))

    def are_same(self, method: str, other: str) -> bool:
        """Whether two methods come to the same student here."""
        first, second = (next(iter(self.runs[name].values())).config_digest for name in (method, other))
        return first is not None and first == second

    def difference_to_teacher(self, method: str) -> Difference | None:
        """Test accuracy of a method minus that of the teacher it learnt from, seed by seed."""
        runs = self.runs.get(method, {})
        theirs = {seed: line.teacher_test_accuracy for seed, line in runs.items()}
        return paired_difference(self.by_seed(method, "test_accuracy"), theirs)

    def best_baseline(self) -> str | None:
        """Of the students other than RbM the one with the highest mean *validation* accuracy."""
        means = {
            method: values.mean
            for method in sorted(self.runs)
            if not is_rbm(method) and (values := self.estimate(method, "val_accuracy"))
        }
        return max(means, key=means.__getitem__, default=None)

    def leader(self) -> str | None:
        """The student whose lead in test accuracy over every other one is decided, if there is one."""
        for method in self.runs:
            others = [
                self.difference(method, other)
                for other in self.runs
                if other != method and not self.are_same(method, other)
            ]
            if others and all(lead is not None and lead.verdict == "better" for lead in others):
                return method
        return None


def group_by_cell(lines: Iterable[RunLine]) -> list[CellRuns]:
    """Runs sorted into their cells, whatever order they came in."""
    cells: dict[Cell, dict[str, dict[int, RunLine]]] = {}
    for line in lines:
        cell = Cell(line.protocol, line.setting, line.teacher, line.dataset)
        cells.setdefault(cell, {}).setdefault(line.method, {})[line.seed] = line
    return [
        CellRuns(cell, {method: dict(sorted(runs[method].items())) for method in sorted(runs)})
        for cell, runs in cells.items()
    ]


@dataclass(frozen=True, slots=True)
class Reliability:
    """How a method's single runs fare, over datasets and seeds.

    `worst` is the run that is furthest under its teacher; `inflation` what reporting the highest test
    accuracy of any epoch would add on average, None where no run has that number.
    """

    num_runs: int
    num_below_teacher: int
    worst: RunLine
    inflation: float | None


def reliability(lines: Iterable[RunLine]) -> Reliability:
    """Worst case and inflation of one method's runs, of which there is at least one."""
    runs = sorted(lines, key=lambda line: (line.dataset, line.seed))
    leads = [_lead(line) for line in runs]
    inflations = estimate(
        line.test_accuracy_max - line.test_accuracy for line in runs if line.test_accuracy_max is not None
    )
    return Reliability(
        num_runs=len(runs),
        num_below_teacher=sum(lead < -POINTS_BELOW_TEACHER for lead in leads),
        worst=min(runs, key=_lead),
        inflation=inflations.mean if inflations else None,
    )


def _lead(line: RunLine) -> float:
    return line.test_accuracy - line.teacher_test_accuracy
