"""What comparisons measured: a line for every run, and the page rendered from them."""

from rbm_training.results.records import (
    Protocol,
    ResultsError,
    ResultsFile,
    RunIdentity,
    RunLine,
    production_accuracy,
)

__all__ = ["Protocol", "ResultsError", "ResultsFile", "RunIdentity", "RunLine", "production_accuracy"]
