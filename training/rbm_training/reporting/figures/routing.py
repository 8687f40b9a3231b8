"""Plots of the mixture: how steadily it routes, and what its experts are for."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rbm_training.reporting.figures.accuracy import MOST_NUMBERED
from rbm_training.reporting.figures.style import (
    INK,
    OTHER,
    PAPER,
    SHADE,
    add_legend,
    class_height,
    name_classes,
    new_axes,
    shade_cells,
    shorten,
    sign,
    styled,
    swatch,
)
from rbm_training.reporting.figures.svg import Plot
from rbm_training.reporting.report_data import Counts, LayerHistory, LayerMap, Reals, TrainingHistory

MOST_TOLD_APART = 12  # by colour and marker
LINE_STYLES = ("-", "--", ":", "-.")


@styled
def stability_plots(histories: Sequence[TrainingHistory]) -> list[Plot]:
    """Balance and switching of all routed methods, and the utilisation of the student's experts."""
    routed = [history for history in histories if history.routing_start is not None]
    balance = Plot(
        "balance",
        _layer_lines(routed, "balance of experts (%)", lambda layer: layer.balance),
        "Normalised entropy of expert utilisation by epoch, over validation nodes.",
        "At 100 % all experts of a layer get equally many rows; at 0 % one gets all.",
    )
    switching = Plot(
        "switching",
        _layer_lines(routed, "nodes that switch expert (%)", lambda layer: layer.switching),
        "Share of validation nodes whose first expert changed since the epoch before.",
        "A line that falls to zero is a routing that has settled.",
    )
    student = histories[0]
    usages = [_usage_plot(student, layer) for layer in student.layers]
    return [balance, switching, *usages]


def _layer_lines(
    histories: Sequence[TrainingHistory], y_label: str, of: Callable[[LayerHistory], Reals]
) -> Figure:
    figure, axes = new_axes(260, "epoch", y_label)
    lines, labels = [], []
    for place, history in enumerate(histories):
        color, _ = sign(place)
        for index, layer in enumerate(history.layers):
            style = LINE_STYLES[index % len(LINE_STYLES)]
            lines += axes.plot(history.epochs, 100 * of(layer), color=color, linestyle=style)
            labels.append(f"{shorten(history.method)}, layer {layer.layer}")
    axes.set_ylim(bottom=0)
    add_legend(figure, lines, labels)
    return figure


def _usage_plot(student: TrainingHistory, layer: LayerHistory) -> Plot:
    figure, axes = new_axes(230, "epoch", f"expert of layer {layer.layer}")
    routed = ~np.isnan(layer.utilisation).any(axis=1)
    shares = 100 * layer.utilisation[routed].T  # (E, routed T)
    E = len(shares)
    first, last = student.epochs[routed][[0, -1]]
    extent = (first - 0.5, last + 0.5, E - 0.5, -0.5)
    image = axes.imshow(shares, cmap=SHADE, vmin=0, aspect="auto", interpolation="none", extent=extent)
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    figure.colorbar(image, label="share of routed rows (%)", aspect=30, pad=0.02)
    return Plot(
        f"usage-{layer.layer}",
        figure,
        f"Share of the validation nodes' rows of layer {layer.layer} that each of {E} experts got, by epoch.",
        f"Layer {layer.layer}: a row that stays pale is an expert without work; even use is {100 / E:.3g} %.",
    )


@styled
def map_plots(layer: LayerMap, class_names: Sequence[str]) -> list[Plot]:
    """A layer's inputs in two dimensions, by expert and by class, and each expert's rows by class."""
    experts = [f"expert {number}" for number in range(len(layer.memory))]
    classes = [f"{number} {shorten(name)}" for number, name in enumerate(class_names)]
    by_expert = Plot(
        f"experts-{layer.layer}",
        _scatter(layer, layer.expert, experts),
        f"Map of the inputs of layer {layer.layer}, coloured by expert.",
        f"Inputs of layer {layer.layer}, coloured by the expert that weighs most; circles are the memories.",
    )
    by_class = Plot(
        f"classes-{layer.layer}",
        _scatter(layer, layer.label, classes),
        f"Map of the inputs of layer {layer.layer}, coloured by class.",
        "The same points, coloured by class: where colours agree, an expert stands for a class.",
    )
    return [by_expert, by_class, _class_share_plot(layer, class_names)]


def _scatter(layer: LayerMap, group: Counts, names: Sequence[str]) -> Figure:
    """Points told apart by group, the most frequent ones first; one raster image for all points."""
    sizes = np.bincount(group, minlength=len(names))
    shown = sorted(np.argsort(-sizes, kind="stable")[:MOST_TOLD_APART].tolist())
    figure, axes = new_axes(350, "first map coordinate", "second map coordinate")
    axes.set_rasterization_zorder(0)
    handles, labels = [], [names[number] for number in shown]
    for place, number in enumerate(shown):
        color, marker = sign(place)
        _dots(axes, layer.points[group == number], color, marker)
        handles.append(swatch(color, marker))
    if len(shown) < len(names):
        _dots(axes, layer.points[~np.isin(group, shown)], OTHER, ".")
        handles.append(swatch(OTHER, "."))
        labels.append("others")
    _mark_memories(axes, layer.memory)
    axes.set(xticks=[], yticks=[])
    add_legend(figure, handles, labels)
    return figure


def _dots(axes: Axes, points: Reals, color: str, marker: str) -> None:
    axes.scatter(
        points[:, 0], points[:, 1], s=13, color=color, marker=marker, alpha=0.75, linewidths=0, zorder=-1
    )


def _mark_memories(axes: Axes, memory: Reals) -> None:
    for number, (x, y) in enumerate(memory):  # one by one: a circle covers the number below it as well
        axes.scatter(x, y, s=210, color=PAPER, edgecolors=INK, linewidths=1.4, zorder=3)
        axes.text(x, y, str(number), ha="center", va="center_baseline", size=10.5, weight="bold", zorder=3)


def _class_share_plot(layer: LayerMap, class_names: Sequence[str]) -> Plot:
    E, C = layer.class_shares.shape
    figure, axes = new_axes(60 + max(180, class_height(C)), f"expert of layer {layer.layer}", "class")
    shade_cells(figure, axes, layer.class_shares.T, "share of the expert's rows (%)", E <= MOST_NUMBERED)
    name_classes(axes, class_names)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    return Plot(
        f"shares-{layer.layer}",
        figure,
        f"Classes of the rows of each of {E} experts of layer {layer.layer}.",
        "Each column is an expert's rows and adds up to 100 %; a few dark cells are a specialist.",
    )
