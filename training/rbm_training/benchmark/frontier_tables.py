"""The frontier of a comparison with grids, as a part of its page: leads, pictures, and every point."""

from collections.abc import Iterable
from typing import Final

from rbm_training.benchmark.configurations import apart
from rbm_training.benchmark.frontier import (
    MLP,
    Cost,
    Quality,
    best_by_validation,
    families,
    flops_of,
    lead,
    points_of_family,
    unbeaten,
)
from rbm_training.benchmark.grid import family_of, is_point, place_of
from rbm_training.benchmark.records import RunLine
from rbm_training.benchmark.statistics import CellRuns, group_by_cell
from rbm_training.benchmark.tables import MISSING, dataset_order, interval, percent, quantity, table

FOLDER: Final = "frontier"
COSTS: Final[dict[Cost, str]] = {
    "flops_per_node": "FLOPs per node",
    "sparse_flops_per_node": "FLOPs per node, without the zeros of sparse features",
    "latency_us_1": "µs for a row alone",
    "latency_us_128": "µs per row in batches of 128",
}
LATENCIES: Final[tuple[Cost, ...]] = ("latency_us_1", "latency_us_128")
QUALITIES: Final[dict[Quality, str]] = {
    "test_accuracy": "test accuracy",
    "agreement": "agreement with the teacher",
}
SHOWN: Final[tuple[tuple[Quality, str], ...]] = (
    ("val_accuracy", "validation"),
    ("test_accuracy", "test"),
    ("agreement", "agreement"),
    ("kl", "KL × 100"),
)

HEAD: Final = """## Frontier

Students in several sizes: accuracy, and agreement with the teacher on all nodes, against what an answer
costs. How labels are split is what the comparison's file says, whatever the protocol.

"""
LEADS: Final = """\
**The lead over the MLP of its cost**, in points with 95 % intervals, paired by seed: a student minus what the
MLP of its FLOPs (of sparse features the non-zeros) reaches, read between the two MLPs next to it on a
logarithmic axis; nothing is read beyond the cheapest and the dearest MLP. Each row is the size of a family
with the highest mean lead in *validation* accuracy; that lead is the highest of several, the others are not
chosen by. The last column is the lead over the MLP of the same latency in batches of 128, where that was
measured. In the pictures these sizes are ringed, bars are deviations over the seeds, and what is far below
the best student is left out.

"""
POINTS: Final = """\
Means over seeds; `★` is a student that none beats in test accuracy and FLOPs at once. Sparse FLOPs, which
comparisons are by where there are any, leave out the zeros of sparse features. Latency, in µs per row
alone and in batches of 128, is that of the first seed: the median time of the exported graph in ONNX Runtime
on one thread.

"""


def render_frontier(lines: Iterable[RunLine]) -> str:
    """The part about the runs of grids; empty without any."""
    cells = frontier_cells(lines)
    if not cells:
        return ""
    parts = [HEAD + LEADS + _lead_table(cells)]
    for runs in cells:
        parts += [f"### {_title(runs)}\n", _pictures(runs), _point_table(runs)]
    return "\n".join(parts)


def frontier_cells(lines: Iterable[RunLine]) -> list[CellRuns]:
    """The runs of grids by their cell, in the order of the page."""
    cells = group_by_cell(apart(line for line in lines if is_point(line.method)))
    return sorted(cells, key=lambda runs: (dataset_order(runs.cell.dataset), _title(runs)))


def pictures_of(runs: CellRuns) -> list[tuple[Cost, Quality]]:
    """What can be drawn of a cell: each quality against each cost, those that are known."""
    known = {
        (cost, quality): any(points_of_family(runs, family, cost, quality) for family in families(runs))
        for cost in (flops_of(runs), *LATENCIES)
        for quality in QUALITIES
    }
    return [pair for pair, is_known in known.items() if is_known]


def picture_name(runs: CellRuns, cost: Cost, quality: Quality) -> str:
    """The file of a picture, in the folder of all."""
    cell = runs.cell
    return f"{cell.dataset}-{cell.protocol}-{cell.setting}-{cell.teacher}-{quality}-{cost}.svg"


def _title(runs: CellRuns) -> str:
    cell = runs.cell
    return f"{cell.dataset}, protocol {cell.protocol}, {cell.setting}, teacher {cell.teacher}"


def _pictures(runs: CellRuns) -> str:
    links = [
        f"![{QUALITIES[quality]} against {COSTS[cost]}]({FOLDER}/{picture_name(runs, cost, quality)})"
        for cost, quality in pictures_of(runs)
    ]
    return "\n".join(links) + "\n"


def _lead_table(cells: list[CellRuns]) -> str:
    rows = [
        _lead_row(runs, family, best)
        for runs in cells
        for family in families(runs)
        if family != MLP and (best := best_by_validation(runs, family))
    ]
    header = ["dataset", "family", "size", "seeds", "FLOPs", "validation", "test", "agreement"]
    return table([*header, "test, of equal latency"], rows, num_text_columns=3)


def _lead_row(runs: CellRuns, family: str, best: str) -> list[str]:
    num_seeds, flops = len(runs.runs[best]), flops_of(runs)
    qualities: tuple[Quality, ...] = ("val_accuracy", "test_accuracy", "agreement")
    leads = [interval(lead(runs, best, flops, quality), num_seeds) for quality in qualities]
    leads.append(interval(lead(runs, best, "latency_us_128", "test_accuracy"), num_seeds))
    return [
        runs.cell.dataset,
        family,
        place_of(best),
        str(num_seeds),
        _cost(runs, best, flops),
        *leads,
    ]


def _point_table(runs: CellRuns) -> str:
    front = {point.method for point in unbeaten(runs, flops_of(runs), "test_accuracy")}
    rows = [
        _point_row(runs, point.method, point.method in front)
        for family in families(runs)
        for point in points_of_family(runs, family, "flops_per_node", "test_accuracy")
    ]
    costs = ["FLOPs", "sparse", "µs, 1", "µs, 128"]
    header = ["family", "size", "", "seeds", *costs, *(title for _, title in SHOWN)]
    points = table(header, rows, num_text_columns=3)
    return (
        f"<details><summary>Every student of {runs.cell.dataset}</summary>\n\n{POINTS}{points}\n</details>\n"
    )


def _point_row(runs: CellRuns, method: str, is_unbeaten: bool) -> list[str]:
    num_seeds = len(runs.runs[method])
    costs = [_cost(runs, method, cost) for cost in COSTS]
    qualities = [
        percent(runs.estimate(method, quality), num_seeds, digits=2 if quality == "kl" else 1)
        for quality, _ in SHOWN
    ]
    mark = "★" if is_unbeaten else ""
    return [family_of(method), place_of(method), mark, str(num_seeds), *costs, *qualities]


def _cost(runs: CellRuns, method: str, cost: Cost) -> str:
    found = runs.estimate(method, cost)
    return quantity(found.mean) if found else MISSING
