"""Methods side by side: one protocol, one command, a line for every run."""

from rbm_training.comparison.plan import ComparisonConfig, load_comparison
from rbm_training.comparison.runner import compare

__all__ = ["ComparisonConfig", "compare", "load_comparison"]
