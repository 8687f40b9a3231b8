"""How every plot looks: one width, a palette for all eyes, text that the page's font draws."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context
from matplotlib.ticker import FuncFormatter

from rbm_training.reporting.report_data import Reals

WIDTH = 370.0
"""Of every figure, in units of its SVG: the width of a phone, so that text keeps its size there."""

INK, PAPER = "#010203", "#fdfcfb"
"""Stand for the page's own text and background colours, light or dark."""

PALETTE = ("#1f7fc0", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""After Okabe and Ito, in shades that show on white and on black."""
MARKERS = "os^DvP"
OTHER = "#8c8c8c"
SHADE = LinearSegmentedColormap.from_list("shade", [(0.12, 0.5, 0.75, 0.0), (0.12, 0.5, 0.75, 1.0)])
"""From the page's background to full colour."""

styled = context(
    [
        "default",
        {
            "axes.edgecolor": INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.labelcolor": INK,
            "axes.labelsize": 11.5,
            "axes.linewidth": 0.8,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 11,
            "grid.alpha": 0.15,
            "grid.color": INK,
            "legend.fontsize": 11,
            "legend.frameon": False,
            "legend.handlelength": 1.7,
            "legend.handletextpad": 0.6,
            "legend.labelcolor": INK,
            "lines.linewidth": 1.8,
            "svg.fonttype": "none",
            "svg.hashsalt": "rbm",
            "text.color": INK,
            "text.parse_math": False,
            "xtick.color": INK,
            "ytick.color": INK,
        },
    ]
)
"""Decorates whatever draws or saves a figure; settings of the user's own matplotlib have no say in it."""


def new_figure(height: float) -> Figure:
    """An empty figure of the common width, in SVG units."""
    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained")


def new_axes(height: float, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure with a single pair of labelled axes."""
    figure = new_figure(height)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure, axes


def add_legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend in as many columns as its longest label allows, in room of its own below the axes."""
    widest = 34 + 6.2 * max(map(len, labels))
    rows = ceil(len(labels) / max(1, WIDTH // widest))
    columns = ceil(len(labels) / rows)
    figure.set_figheight(figure.get_figheight() + (16 * rows + 10) / 72)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2)


def sign(place: int) -> tuple[str, str]:
    """Colour and marker of the place-th thing of many: 36 differ, neighbours in both."""
    return PALETTE[place % 6], MARKERS[(place + place // 6) % 6]


def swatch(color: str, marker: str) -> Line2D:
    """A legend's entry for points."""
    return Line2D([], [], color=color, marker=marker, linestyle="", markersize=7)


def shorten(name: str, length: int = 21) -> str:
    """A name in one line of printable characters, cut to a length."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    return plain if len(plain) <= length else plain[: length - 1].rstrip() + "…"


def name_classes(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows 0..C−1 of the y axis, downwards; of very many classes only every so manieth."""
    rows = range(0, len(names), ceil(len(names) / 45))
    axes.set_yticks(rows, [f"{shorten(names[row])}\u2002{row}" for row in rows])
    axes.set_ylim(len(names) - 0.5, -0.5)


def class_height(num_classes: int) -> float:
    """Height that C rows with readable names take, up to a limit."""
    return min(17.0 * num_classes, 740.0)


def shade_cells(figure: Figure, axes: Axes, shares: Reals, unit: str, numbered: bool) -> None:
    """Shares (rows, columns) as shaded cells, with numbers in them or a colour bar below them."""
    percents = 100 * shares
    darkest = float(np.nanmax(percents))
    image = axes.imshow(percents, cmap=SHADE, vmin=0, vmax=darkest, aspect="auto", interpolation="none")
    axes.grid(visible=False)
    if not numbered:
        figure.colorbar(image, label=unit, location="bottom", aspect=40, pad=0.02)
        return
    for (row, column), percent in np.ndenumerate(percents):
        if percent >= 0.5:
            color = "white" if percent > 0.65 * darkest else INK
            axes.text(column, row, f"{percent:.0f}", ha="center", va="center", color=color, fontsize=10.5)


def short_number(value: float) -> str:
    """A number in three digits and a prefix: 950, 12.5k, 3M."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"


tick_number = FuncFormatter(lambda value, _: short_number(value))
