"""Published accuracies and ours in one table: each published method, and below it what comes nearest here."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from rbm_bundle.manifest_parts import Setting
from rbm_training.benchmark.published import Published, PublishedAccuracy, PublishedMeasure, PublishedRow
from rbm_training.benchmark.records import Protocol
from rbm_training.benchmark.statistics import CellRuns, Estimate, is_rbm
from rbm_training.benchmark.tables import MISSING, TIED, Section, dataset_order, percent, table

DIGITS: Final = 2  # as the sources print theirs
TEACHER: Final = "teacher"
MEASURES: Final[tuple[tuple[str, PublishedMeasure], ...]] = (
    ("", "test_accuracy"),
    (", production", "production_accuracy"),
)


def render_published(sections: list[Section], published: Published) -> str:
    """Tables by protocol and setting of the sections given, and their sources; empty without any."""
    protocols = sorted({section.protocol for section in sections})
    parts = [
        f"Protocol {name}: {published.missing[name]}\n" for name in protocols if name in published.missing
    ]
    cited: set[str] = set()
    for protocol, setting in dict.fromkeys((part.protocol, part.setting) for part in sections):
        ours = [part for part in sections if (part.protocol, part.setting) == (protocol, setting)]
        for suffix, measure in MEASURES:
            rows = _rows_of(published, protocol, setting, measure)
            if rows:
                cited |= {row.source for row in rows}
                parts += [f"### Protocol {protocol}, {setting}{suffix}, published\n"]
                parts += [_table(rows, ours, measure, published)]
    return "\n".join([*parts, _sources(published, cited)] if cited else parts)


def _rows_of(
    published: Published, protocol: Protocol, setting: Setting, measure: PublishedMeasure
) -> list[PublishedRow]:
    wanted = (protocol, setting, measure)
    return [row for row in published.rows if (row.protocol, row.setting, row.measure) == wanted]


def _table(
    rows: list[PublishedRow], ours: list[Section], measure: PublishedMeasure, published: Published
) -> str:
    found = {name for row in rows for name in row.percent}
    found |= {runs.cell.dataset for section in ours for runs in section.cells}
    datasets = sorted(found, key=dataset_order)
    body: list[list[str]] = []
    for counterpart, group in groupby(rows, key=lambda row: row.counterpart):
        body += [_published_row(row, datasets, published) for row in group]
        body += _our_rows(ours, [counterpart] if counterpart else [], datasets, measure)
    students = sorted({method for section in ours for method in section.methods if is_rbm(method)})
    body += _our_rows(ours, students, datasets, measure)
    return table(["method", "source", *datasets], body, num_text_columns=2)


def _published_row(row: PublishedRow, datasets: list[str], published: Published) -> list[str]:
    mark = f"{TIED}\\*" if published.sources[row.source].caution else ""
    cells = [_as_printed(row.percent[name]) if name in row.percent else MISSING for name in datasets]
    name = row.method if row.teacher is None else f"{row.method}, {TEACHER} {row.teacher}"
    return [name, f"{row.source}{mark}", *cells]


def _as_printed(value: PublishedAccuracy) -> str:
    return f"{value.mean:.{DIGITS}f}" + (f" ±{TIED}{value.std:.{DIGITS}f}" if value.std is not None else "")


def _our_rows(
    ours: list[Section], methods: Iterable[str], datasets: list[str], measure: PublishedMeasure
) -> Iterator[list[str]]:
    """A row for each of our methods and teachers that has any of these numbers."""
    for method in methods:
        for section in ours:
            cells = {runs.cell.dataset: _estimate(runs, method, measure) for runs in section.cells}
            if any(cells.values()):
                teacher = f"{TEACHER} {section.teacher}"
                name = teacher if method == TEACHER else f"{method}, {teacher}"
                numbers = [_ours(cells.get(dataset)) for dataset in datasets]
                yield [f"**{name}**", "here", *numbers]


def _estimate(runs: CellRuns, method: str, measure: PublishedMeasure) -> Estimate | None:
    if method != TEACHER:
        return runs.estimate(method, measure)
    return runs.teacher_estimate() if measure == "test_accuracy" else None


def _ours(value: Estimate | None) -> str:
    return MISSING if value is None else percent(value, value.num_seeds, DIGITS)


def _sources(published: Published, cited: set[str]) -> str:
    lines = []
    for key in sorted(cited):
        source = published.sources[key]
        caution = f" \\* {source.caution}." if source.caution else ""
        lines.append(f"- `{key}`: {source.reference}.{caution}")
    return "\n".join(["Sources:\n", *lines]) + "\n"
