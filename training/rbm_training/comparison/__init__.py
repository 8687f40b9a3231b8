"""Methods side by side: one protocol, one command, a line for every run."""

from rbm_training.comparison.plan import ComparisonConfig, load_comparison
from rbm_training.comparison.runner import PAGE_FILE, RESULTS_FILE, ComparisonError, compare

__all__ = ["PAGE_FILE", "RESULTS_FILE", "ComparisonConfig", "ComparisonError", "compare", "load_comparison"]
