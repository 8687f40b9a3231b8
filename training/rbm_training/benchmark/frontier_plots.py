"""The frontier of a comparison with grids as pictures: each quality against each cost, cell by cell."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rbm_training.benchmark.frontier import (
    MLP,
    Cost,
    Point,
    Quality,
    best_by_validation,
    families,
    points_of_family,
    unbeaten,
)
from rbm_training.benchmark.frontier_tables import (
    COSTS,
    FOLDER,
    QUALITIES,
    frontier_cells,
    picture_name,
    pictures_of,
)
from rbm_training.benchmark.grid import place_of
from rbm_training.benchmark.records import RunLine
from rbm_training.benchmark.statistics import CellRuns
from rbm_training.reporting.figures.cost import scale_costs
from rbm_training.reporting.figures.style import INK, add_legend, new_axes, sign, styled
from rbm_training.reporting.figures.svg import write_svg
from rbm_training.reporting.report_data import Reals

WIDTH: Final = 560
"""In units of the SVG: wider than a run's plots, which have a phone's width and fewer points."""

SHOWN_BELOW_BEST: Final = 20
"""Points of quality; what is further below the best student and has no name is out of the picture."""


def write_frontier(lines: Iterable[RunLine], folder: Path) -> None:
    """Write all pictures that the page of these runs links to, in the folder of the page."""
    for runs in frontier_cells(lines):
        for cost, quality in pictures_of(runs):
            (folder / FOLDER).mkdir(exist_ok=True)
            path = folder / FOLDER / picture_name(runs, cost, quality)
            write_svg(frontier_figure(runs, cost, quality), path)


@styled
def frontier_figure(runs: CellRuns, cost: Cost, quality: Quality) -> Figure:
    """Each family in a colour of its own, the MLPs joined by a line; bars are deviations over the seeds.

    Of a mixture the size with the highest lead on validation is ringed and named.
    """
    figure, axes = new_axes(330, COSTS[cost], f"{QUALITIES[quality]} (%)")
    figure.set_figwidth(WIDTH / 72)
    axes.set_title(runs.cell.dataset, fontsize=12)
    drawn = {family: points_of_family(runs, family, cost, quality) for family in families(runs)}
    handles, named = [], []
    for place, (family, points) in enumerate(drawn.items()):
        handles.append(_draw(axes, points, place, is_joined=family == MLP))
        best = best_by_validation(runs, family) if family != MLP else None
        named += [_name(axes, point, place) for point in points if point.method == best]
    _draw_front(axes, unbeaten(runs, cost, quality))
    everything = [point for points in drawn.values() for point in points]
    scale_costs(axes, np.array([point.cost for point in everything]))
    _cut_off(axes, everything, named)
    add_legend(figure, handles, list(drawn))
    return figure


def _draw(axes: Axes, points: Sequence[Point], place: int, is_joined: bool) -> Line2D:
    color, marker = sign(place)
    costs, percents = _places(points)
    deviations = [100 * (point.quality.deviation or 0) for point in points]
    axes.vlines(costs, *_ends(percents, deviations), color=color, alpha=0.45, linewidth=1.2)
    style = "-" if is_joined else ""
    (line,) = axes.plot(costs, percents, color=color, marker=marker, linestyle=style, ms=5, lw=1.2, zorder=3)
    return line


def _name(axes: Axes, point: Point, place: int) -> Point:
    """Ring a point and say which size it is: above it and to the left, where no student is, and higher family
    by family, whose points may be neighbours."""
    color, where = sign(place)[0], (point.cost, 100 * point.quality.mean)
    axes.scatter(*where, s=110, facecolors="none", edgecolors=color, zorder=4)
    axes.annotate(
        place_of(point.method),
        where,
        (-6, 11 * place - 6),
        textcoords="offset points",
        fontsize=9,
        color=color,
        ha="right",
    )
    return point


def _draw_front(axes: Axes, front: Sequence[Point]) -> None:
    axes.step(*_places(front), where="post", color=INK, alpha=0.6, lw=1.0, ls="--", zorder=1)


def _cut_off(axes: Axes, points: Sequence[Point], named: Sequence[Point]) -> None:
    percents = [100 * point.quality.mean for point in points]
    lowest = max(min(percents), max(percents) - SHOWN_BELOW_BEST)
    lowest = min([lowest, *(100 * point.quality.mean for point in named)])
    room = 0.06 * (max(percents) - lowest) + 0.5
    axes.set_ylim(lowest - room, max(percents) + room)


def _places(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.cost for point in points], [100 * point.quality.mean for point in points]


def _ends(middles: Sequence[float], lengths: Sequence[float]) -> tuple[Reals, Reals]:
    middle, length = np.array(middles), np.array(lengths)
    return middle - length, middle + length
