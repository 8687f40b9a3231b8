"""Search for a better experiment, on validation alone."""

from rbm_training.tuning.search import BEST_FILE, TuningError, tune
from rbm_training.tuning.space import TuningConfig, load_tuning

__all__ = ["BEST_FILE", "TuningConfig", "TuningError", "load_tuning", "tune"]
