"""docs/performance.md, rendered from the results of `make bench`; nothing on that page is typed by hand."""

from collections.abc import Mapping
from pathlib import Path

Value = str | int | float
Results = dict[str, Value]

SIDES = {
    "student": "student",
    "full_teacher": "teacher, whole neighbourhood, PyG",
    "sampled_teacher": "teacher, sampled, PyG",
    "tuned_full_teacher": "teacher, whole neighbourhood, tuned",
    "tuned_sampled_teacher": "teacher, sampled, tuned",
}
TEMPLATE = Path(__file__).with_suffix(".template.md")


def render(results: Mapping[str, Value]) -> str:
    """The page.

    Raises:
        KeyError: a result is missing.
    """
    return TEMPLATE.read_text().format(
        **results,
        torch_eager=_time(results["torch_eager_b1_us"]),
        grouped_rows=_rows(results, (1, 32, 128, 1024), "grouped", "dense", "grouped_over_dense"),
        sparse_rows=_rows(
            results, (1, 128), "sparse", "grouped_dense_input", "sparse_over_grouped_dense_input"
        ),
        teacher_rows_b1=_teacher_rows(results, 1),
        teacher_rows_b32=_teacher_rows(results, 32),
    )


def _rows(results: Mapping[str, Value], batches: tuple[int, ...], ours: str, theirs: str, ratio: str) -> str:
    return "\n".join(
        f"| {rows:,} | {_time(results[f'{ours}_b{rows}_us'])} | {_time(results[f'{theirs}_b{rows}_us'])}"
        f" | {results[f'{ratio}_b{rows}']:.2f}× |"
        for rows in batches
    )


def _teacher_rows(results: Mapping[str, Value], rows: int) -> str:
    lines = []
    for side, title in SIDES.items():
        times = f"{_time(results[f'{side}_b{rows}_us'])} | {_time(results[f'{side}_b{rows}_p99_us'])}"
        ratio = "" if side == "student" else f"{results[f'student_over_{side}_b{rows}']:.1f}×"
        lines.append(f"| {title} | {times} | {ratio} |")
    return "\n".join(lines)


def _time(microseconds: str | float) -> str:
    value = float(microseconds)
    return f"{value:,.0f} µs" if value < 10_000 else f"{value / 1000:,.1f} ms"
