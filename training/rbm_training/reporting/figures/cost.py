"""Plots of accuracy against cost."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullFormatter

from rbm_training.evaluation.intervals import share_interval
from rbm_training.reporting.figures.style import INK, add_legend, new_axes, shorten, sign, styled, tick_number
from rbm_training.reporting.figures.svg import Plot
from rbm_training.reporting.report_data import Counts, Method, Reals

FRONT = " No method beats one on the dashed line in accuracy and cost at once."


@styled
def cost_plots(methods: Sequence[Method], num_nodes: int) -> list[Plot]:
    """Test accuracy, on so many nodes, against arithmetic and against measured latency, which
    the teacher, the last one, has not. One method alone is compared with nothing, and has no plot."""
    timed = [method for method in methods if not math.isnan(method.latency_microseconds_alone)]
    flops = np.array([method.flops_per_node for method in methods])
    alone = np.array([method.latency_microseconds_alone for method in timed])
    batched = np.array([method.latency_microseconds_batched for method in timed])
    plots = [_pareto_plot("flops", methods, num_nodes, flops, "FLOPs per node")]
    if len(timed) > 1:
        label = "latency in batches of {} (µs per row)"
        plots.append(_pareto_plot("latency-1", timed, num_nodes, alone, label.format(1)))
        plots.append(_pareto_plot("latency-128", timed, num_nodes, batched, label.format(128)))
    return plots


def _pareto_plot(name: str, methods: Sequence[Method], num_nodes: int, costs: Reals, cost_label: str) -> Plot:
    accuracies = 100 * np.array([method.test_accuracy for method in methods])
    figure, axes = new_axes(290, cost_label, "test accuracy (%)")
    best = pareto_front(costs, accuracies)
    axes.step(costs[best], accuracies[best], where="post", color=INK, alpha=0.6, lw=1.2, ls="--")
    points = []
    for place, (cost, accuracy) in enumerate(zip(costs, accuracies, strict=True)):
        color, marker = sign(place)
        low, high = (100 * end for end in share_interval(accuracy / 100, num_nodes))
        axes.vlines(cost, low, high, color=color, alpha=0.5, linewidth=1.6)
        points.append(axes.scatter(cost, accuracy, s=80, color=color, marker=marker, zorder=3))
    scale_costs(axes, costs)
    axes.margins(0.12)
    add_legend(figure, points, [shorten(method.name) for method in methods])
    front_told = FRONT if len(best) > 1 else ""
    front = ", ".join(methods[row].name for row in best)
    return Plot(
        name,
        figure,
        f"Test accuracy against {cost_label}; best for their cost: {front}.",
        f"Up and to the left is better; bars are 95 % intervals, n = {num_nodes:,}.{front_told}",
    )


def scale_costs(axes: Axes, costs: Reals) -> None:
    """A logarithmic x axis for costs (n,)."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(_ticks(costs))
    axes.xaxis.set_major_formatter(tick_number)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _ticks(costs: Reals) -> Locator:
    """About five round numbers on a logarithmic axis, however long it is."""
    span = costs.max() / costs.min()
    if span < 5:
        return MaxNLocator(nbins=5)
    return LogLocator(subs=(1, 2, 5) if span < 100 else (1,))


def pareto_front(costs: Reals, accuracies: Reals) -> Counts:
    """Rows that no other beats in both, cheapest first; costs and accuracies are (n,)."""
    order = np.lexsort((-accuracies, costs))
    sorted_accuracies = accuracies[order]
    best_before = np.maximum.accumulate(np.r_[-np.inf, sorted_accuracies[:-1]])
    return np.asarray(order[sorted_accuracies > best_before])
