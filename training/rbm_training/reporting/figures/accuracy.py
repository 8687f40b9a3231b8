"""Plots of how good the answers are: by class, by confidence, by where positions come from."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rbm_training.evaluation.calibration import Reliability
from rbm_training.evaluation.intervals import share_interval
from rbm_training.reporting.figures.style import (
    INK,
    PALETTE,
    add_legend,
    class_height,
    name_classes,
    new_axes,
    shade_cells,
    styled,
    swatch,
)
from rbm_training.reporting.figures.svg import Plot
from rbm_training.reporting.report_data import Calibration, ClassResults, Reals, UnseenAccuracy

SMALLEST_MARKER, LARGEST_MARKER = 10, 150  # areas: of a bin of few nodes, and what the fullest one has more
MOST_NUMBERED = 10  # columns whose cells still have room for a number


@styled
def class_plot(classes: ClassResults) -> Plot:
    """Recall of student and teacher, a row for each class."""
    figure, axes = new_axes(70 + class_height(len(classes.names)), "recall (%)", "class")
    rows = np.arange(len(classes.names))
    student, teacher = 100 * classes.recall, 100 * classes.teacher_recall
    axes.hlines(rows, student, teacher, color=INK, alpha=0.35, linewidth=1.2)
    ends = np.array([share_interval(*each) for each in zip(classes.recall, classes.num_nodes, strict=True)])
    low, high = 100 * ends.T
    axes.hlines(rows, low, high, color=PALETTE[0], alpha=0.5, linewidth=1.6)
    of_teacher = axes.scatter(teacher, rows, s=34, marker="D", color=PALETTE[1])
    of_student = axes.scatter(student, rows, s=42, color=PALETTE[0])
    axes.set_xlim(min(np.nanmin(teacher), np.nanmin(low)) - 4, 102)
    name_classes(axes, classes.names)
    add_legend(figure, [of_student, of_teacher], ["student", "teacher"])
    return Plot(
        "recall",
        figure,
        f"Recall of student and teacher for each of {len(classes.names)} classes.",
        f"Blue bars are 95 % intervals of the student's recall. {_losses(student, teacher)}",
    )


def _losses(student: Reals, teacher: Reals) -> str:
    if (student < teacher).any():
        return "A grey line to the left of the teacher's diamond is a class in which the student loses."
    return "In no class does the student lose against its teacher."


@styled
def confusion_plot(classes: ClassResults) -> Plot:
    """True against predicted classes, as shares of the true class."""
    C = len(classes.names)
    figure, axes = new_axes(100 + max(180, class_height(C)), "predicted class, by number", "true class")
    shade_cells(figure, axes, classes.row_shares, "share of the true class (%)", C <= MOST_NUMBERED)
    name_classes(axes, classes.names)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))
    return Plot(
        "confusion",
        figure,
        f"Confusion matrix of {C} classes.",
        "Each row is a true class and adds up to 100 %; the diagonal is right, all else is confused.",
    )


@styled
def calibration_plots(calibration: Calibration) -> list[Plot]:
    """The reliability diagram, and how confidences are spread."""
    before, after = calibration.before, calibration.after
    figure, axes = new_axes(300, "mean confidence of the bin (%)", "accuracy in the bin (%)")
    axes.plot([0, 100], [0, 100], color=INK, alpha=0.5, linestyle=":", linewidth=1.2)
    lines = [
        _reliability_line(axes, before, PALETTE[1], "D"),
        _reliability_line(axes, after, PALETTE[0], "o"),
    ]
    axes.set(xlim=(-4, 104), ylim=(-4, 104))
    add_legend(figure, lines, ["before", "after the temperature"])
    reliability = Plot(
        "reliability",
        figure,
        f"Reliability diagram: expected calibration error {100 * before.expected_error:.1f} % before and "
        f"{100 * after.expected_error:.1f} % after the temperature.",
        "On the dotted diagonal confidence is honest; below it the student is too sure of itself. The larger"
        " a marker, the more nodes are in its bin.",
    )
    figure, axes = new_axes(300, "confidence (%)", "share of test nodes (%)")
    edges = np.linspace(0, 100, len(after.count) + 1)
    steps = [
        axes.stairs(100 * bins.count / bins.count.sum(), edges, color=color, fill=filled, alpha=alpha, lw=1.8)
        for bins, color, filled, alpha in ((before, PALETTE[1], False, 1.0), (after, PALETTE[0], True, 0.45))
    ]
    add_legend(figure, steps, ["before", "after the temperature"])
    spread = Plot(
        "confidence",
        figure,
        "Histogram of the student's confidence before and after the temperature.",
        "How many test nodes stand behind each point of the reliability diagram.",
    )
    return [reliability, spread]


def _reliability_line(axes: Axes, bins: Reliability, color: str, marker: str) -> Line2D:
    filled = bins.count > 0
    confidence, accuracy = 100 * bins.confidence[filled], 100 * bins.accuracy[filled]
    sizes = SMALLEST_MARKER + LARGEST_MARKER * bins.count[filled] / bins.count.max()
    axes.scatter(
        confidence, accuracy, s=sizes, color=color, marker=marker, alpha=0.75, linewidths=0, zorder=3
    )
    axes.plot(confidence, accuracy, color=color, alpha=0.6, linewidth=1.2)
    return swatch(color, marker)


@styled
def unseen_plot(unseen: UnseenAccuracy, num_nodes: int) -> Plot:
    """Accuracy on so many unseen nodes for each source of their positions."""
    figure, axes = new_axes(170, "accuracy on unseen nodes (%)", "position")
    sources = {"true": unseen.true, "inferred": unseen.inferred, "default": unseen.default}
    for row, accuracies in enumerate(sources.values()):
        axes.scatter(100 * accuracies, np.full(accuracies.shape, row), s=42, color=PALETTE[0], alpha=0.45)
        if len(accuracies) > 1:
            axes.vlines(100 * accuracies.mean(), row - 0.28, row + 0.28, color=PALETTE[1], linewidth=2.5)
        else:
            low, high = share_interval(float(accuracies[0]), num_nodes)
            axes.hlines(row, 100 * low, 100 * high, color=PALETTE[0], alpha=0.5, linewidth=1.6)
    axes.set_yticks(range(len(sources)), list(sources))
    axes.set_ylim(len(sources) - 0.5, -0.5)
    means = ", ".join(f"{name} {100 * values.mean():.1f} %" for name, values in sources.items())
    return Plot(
        "unseen",
        figure,
        f"Accuracy on unseen nodes by position: {means}.",
        "Between true and inferred lies what inferring positions costs."
        + (
            " A dot is a seed, a bar their mean."
            if len(unseen.true) > 1
            else f" Bars: 95 %, n = {num_nodes:,}."
        ),
    )
