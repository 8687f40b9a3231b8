"""The tables of one section of the results page: a protocol, a setting and a teacher, dataset by dataset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rbm_bundle.manifest_parts import Setting
from rbm_training.benchmark.records import Protocol, RunLine
from rbm_training.benchmark.statistics import (
    RBM,
    RBM_HEAD,
    RELEASED_RBM,
    CellRuns,
    Difference,
    Estimate,
    Measure,
    group_by_cell,
    is_rbm,
    mlp_of_its_flops,
    reliability,
)

MISSING: Final = "–"
TIED: Final = "\u00a0"
"""A space at which a narrow cell is not broken."""

DATASETS: Final = (
    *("cora", "cora-cpf", "citeseer", "citeseer-cpf", "pubmed", "amazon-computers", "amazon-photo"),
    *("coauthor-cs", "coauthor-physics", "ogbn-arxiv", "ogbn-products"),
)
METHODS: Final = (
    *("glnn", "krd", "nosmog", "mlp", "mlp-ensemble", "mlp-flops-head", "mlp-flops", "mlp-wide"),
    *("released-mlp", "moe-head", "moe", RELEASED_RBM, RBM_HEAD, RBM),
)
EQUAL_FLOPS: Final = "mlp of its FLOPs"
RIVALS: Final = ("teacher", "mlp", EQUAL_FLOPS, "best baseline")


@dataclass(frozen=True, slots=True)
class Section:
    """The cells of one protocol, setting and teacher, in the order of their datasets."""

    protocol: Protocol
    setting: Setting
    teacher: str
    cells: tuple[CellRuns, ...]

    @property
    def title(self) -> str:
        """The heading under which the section stands."""
        return f"Protocol {self.protocol}, {self.setting}, teacher {self.teacher}"

    @property
    def methods(self) -> list[str]:
        """Every method that has a run here."""
        return sorted({method for cell in self.cells for method in cell.runs}, key=method_order)

    def runs_of(self, method: str) -> list[RunLine]:
        """All runs of a method."""
        return [line for cell in self.cells for line in cell.runs.get(method, {}).values()]


def sections_of(lines: Iterable[RunLine]) -> list[Section]:
    """The sections of a page in their order: protocol, transductive before inductive, teacher."""
    grouped: dict[tuple[Protocol, Setting, str], list[CellRuns]] = {}
    for runs in group_by_cell(lines):
        cell = runs.cell
        grouped.setdefault((cell.protocol, cell.setting, cell.teacher), []).append(runs)
    sections = [
        Section(*key, tuple(sorted(cells, key=lambda runs: dataset_order(runs.cell.dataset))))
        for key, cells in grouped.items()
    ]
    return sorted(sections, key=lambda part: (part.protocol, part.setting == "inductive", part.teacher))


def dataset_order(name: str) -> tuple[int, str]:
    """Known datasets as papers list them, others behind by name."""
    return (DATASETS.index(name) if name in DATASETS else len(DATASETS), name)


def method_order(name: str) -> tuple[float, str]:
    """Known methods first to last, RbM behind the others, a variant behind its original."""
    kin = [method for method in METHODS if name == method or name.startswith(f"{method}-")]
    return (METHODS.index(max(kin, key=len)) if kin else METHODS.index(RBM) - 0.5, name)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], num_text_columns: int = 1) -> str:
    """A Markdown table; columns behind the first few are set right."""
    rule = ["---"] * num_text_columns + ["--:"] * (len(header) - num_text_columns)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows)) + "\n"


def percent(value: Estimate | None, num_seeds: int, digits: int = 1) -> str:
    """Mean ± deviation in percent; says its number of seeds where that is not the row's."""
    if value is None:
        return MISSING
    text = f"{100 * value.mean:.{digits}f}"
    if value.deviation is not None:
        text += f" ±{TIED}{100 * value.deviation:.{digits}f}"
    return text + _other_count(value.num_seeds, num_seeds)


def points(difference: float) -> str:
    """A signed difference in percentage points."""
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def interval(difference: Difference | None, num_seeds: int) -> str:
    """Mean difference and its 95 % interval in points, bold where that is all on one side of zero, marked
    where the two are equivalent."""
    if difference is None:
        return MISSING
    text = points(difference.mean)
    if difference.half_width is not None:
        low, high = difference.mean - difference.half_width, difference.mean + difference.half_width
        text += f" [{points(low)},{TIED}{points(high)}]"
    text += _other_count(difference.num_seeds, num_seeds)
    if difference.verdict == "equivalent":
        return f"{text}{TIED}≈"
    return text if difference.verdict == "undecided" else f"**{text}**"


def quantity(value: float) -> str:
    """A count or a time in three significant digits: 512, 1.84 k, 2.31 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{value / size:#.3g}".rstrip(".") + unit
    return f"{value:.3g}"


def accuracy_table(section: Section, measure: Measure) -> str | None:
    """Datasets × methods, and the teacher, whose test accuracy alone is known; None without any number.

    A dataset of which no run has the measure has no row. Of methods that come to one student the first has
    its numbers.
    """
    methods = section.methods
    teacher = ["teacher"] if measure == "test_accuracy" else []
    rows = [
        _accuracy_row(runs, methods, measure)
        for runs in section.cells
        if any(runs.estimate(method, measure) for method in methods)
    ]
    return table(["dataset", "seeds", *teacher, *methods], rows) if rows else None


def _accuracy_row(runs: CellRuns, methods: list[str], measure: Measure) -> list[str]:
    num_seeds = _num_seeds(runs)
    digits = 2 if measure == "kl" else 1
    numbers = {method: percent(runs.estimate(method, measure), num_seeds, digits) for method in methods}
    teacher = []
    if measure == "test_accuracy":
        teacher = [percent(runs.teacher_estimate(), num_seeds)]
        if leader := runs.leader():
            numbers[leader] = f"**{numbers[leader]}**"
    numbers |= {method: f"as {first}" for method, first in _repeated(runs, methods).items()}
    return [runs.cell.dataset, str(num_seeds), *teacher, *numbers.values()]


def _repeated(runs: CellRuns, methods: list[str]) -> dict[str, str]:
    """Methods that come to the same student as one before them, and that one."""
    present = [method for method in methods if method in runs.runs]
    first: dict[str, str] = {}
    for index, method in enumerate(present):
        same = [other for other in present[:index] if runs.are_same(method, other)]
        if same:
            first[method] = same[0]
    return first


def difference_to(
    runs: CellRuns, method: str, rival: str, measure: Measure = "test_accuracy"
) -> Difference | None:
    """A measure of a method minus a rival's: one of `RIVALS`. Of the teacher test accuracy alone is known."""
    if rival == "teacher":
        return runs.difference_to_teacher(method) if measure == "test_accuracy" else None
    others = {EQUAL_FLOPS: mlp_of_its_flops(method), "best baseline": runs.best_baseline()}
    other = others.get(rival, rival)
    return runs.difference(method, other, measure) if other else None


def difference_table(section: Section, measure: Measure = "test_accuracy") -> str | None:
    """RbM and its variants against teacher, plain students and best baseline; None without such a run of
    RbM."""
    rows = []
    for runs in section.cells:
        for method in filter(is_rbm, sorted(runs.runs, key=method_order)):
            num_seeds = len(runs.runs[method])
            leads = [interval(difference_to(runs, method, rival, measure), num_seeds) for rival in RIVALS]
            if all(lead == MISSING for lead in leads):
                continue
            best = runs.best_baseline() or MISSING
            rows.append([runs.cell.dataset, method, best, str(num_seeds), *leads])
    header = ["dataset", "student", "best baseline", "seeds", *(f"− {rival}" for rival in RIVALS)]
    return table(header, rows, num_text_columns=3) if rows else None


def reliability_table(section: Section) -> str:
    """How single runs of each method fare against their teacher, over all datasets of the section."""
    rows = []
    for method in section.methods:
        found = reliability(section.runs_of(method))
        lead = points(found.worst.test_accuracy - found.worst.teacher_test_accuracy)
        worst = f"{lead} ({found.worst.dataset}, seed {found.worst.seed})"
        inflation = MISSING if found.inflation is None else points(found.inflation)
        rows.append([method, str(found.num_runs), worst, str(found.num_below_teacher), inflation])
    header = [
        "student",
        "runs",
        "worst run − its teacher",
        "runs over 3 points under it",
        "highest − selected epoch",
    ]
    return table(header, rows)


def cost_table(section: Section, measure: Measure) -> str:
    """Datasets × methods of a mean cost."""
    methods = section.methods
    rows = []
    for runs in section.cells:
        costs = [runs.estimate(method, measure) for method in methods]
        rows.append([runs.cell.dataset, *(quantity(cost.mean) if cost else MISSING for cost in costs)])
    return table(["dataset", *methods], rows)


def _num_seeds(runs: CellRuns) -> int:
    return max(len(by_seed) for by_seed in runs.runs.values())


def _other_count(found: int, expected: int) -> str:
    return "" if found == expected else f" (n{TIED}={TIED}{found})"
