"""Plots of a training by epoch: accuracies and the parts of the loss."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rbm_training.reporting.figures.style import (
    INK,
    PALETTE,
    add_legend,
    new_axes,
    new_figure,
    shorten,
    sign,
    styled,
)
from rbm_training.reporting.figures.svg import Plot
from rbm_training.reporting.report_data import TrainingHistory


@styled
def training_plots(histories: Sequence[TrainingHistory]) -> list[Plot]:
    """Accuracy by epoch of all methods, and the parts of the student's loss."""
    plots = [_accuracy_plot(histories)]
    if histories[0].losses:
        plots.append(_loss_plot(histories[0]))
    return plots


def _accuracy_plot(histories: Sequence[TrainingHistory]) -> Plot:
    figure, axes = new_axes(300, "epoch", "accuracy (%)")
    student, *others = histories
    lines = axes.plot(student.epochs, 100 * student.val_accuracy, color=PALETTE[0])
    lines += axes.plot(student.epochs, 100 * student.test_accuracy, color=PALETTE[0], linestyle="--", lw=1.2)
    labels = [f"{shorten(student.method)}, validation", f"{shorten(student.method)}, test"]
    for place, other in enumerate(others, start=1):
        lines += axes.plot(other.epochs, 100 * other.val_accuracy, color=sign(place)[0])
        labels.append(f"{shorten(other.method)}, validation")
    events = mark_events(axes, student)
    add_legend(figure, [*lines, *events], [*labels, *(str(event.get_label()) for event in events)])
    return Plot(
        "accuracy-by-epoch",
        figure,
        f"Accuracy by epoch; epoch {student.selected_epoch} was selected.",
        "The epoch is selected on validation alone; test accuracy is recorded, and nothing is chosen by it.",
    )


def _loss_plot(student: TrainingHistory) -> Plot:
    figure = new_figure(40 + 92 * len(student.losses))
    panels = figure.subplots(len(student.losses), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, values) in zip(panels, student.losses.items(), strict=True):
        panel.plot(student.epochs, values, color=PALETTE[0], linewidth=1.5)
        panel.set_ylabel(shorten(name, 14))
        panel.locator_params(axis="y", nbins=3)
        events = mark_events(panel, student)
    panels[-1].set_xlabel("epoch")
    figure.align_ylabels()
    add_legend(figure, events, [str(event.get_label()) for event in events])
    return Plot(
        "losses",
        figure,
        f"Loss by epoch, in its parts: {', '.join(student.losses)}.",
        "Each part as it enters the loss, in nats or without a unit, on a scale of its own.",
    )


def mark_events(axes: Axes, history: TrainingHistory) -> list[Line2D]:
    """Lines where routing starts and at the selected epoch."""
    events = [axes.axvline(history.selected_epoch, color=INK, lw=1.1, alpha=0.8, label="selected epoch")]
    if history.routing_start is not None:
        start = axes.axvline(history.routing_start, color=INK, lw=1.1, ls=":", label="routing starts")
        events.insert(0, start)
    return events
