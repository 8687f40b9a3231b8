"""The plots of a run's page: functions from records to figures, and figures to inline SVG."""

from rbm_training.reporting.figures.accuracy import calibration_plots, class_plot, confusion_plot, unseen_plot
from rbm_training.reporting.figures.cost import cost_plots
from rbm_training.reporting.figures.routing import map_plots, stability_plots
from rbm_training.reporting.figures.svg import Plot, to_svg
from rbm_training.reporting.figures.training import training_plots

__all__ = [
    "Plot",
    "calibration_plots",
    "class_plot",
    "confusion_plot",
    "cost_plots",
    "map_plots",
    "stability_plots",
    "to_svg",
    "training_plots",
    "unseen_plot",
]
