"""The experiment, read from TOML: what `rbm-train` is asked to do."""

from rbm_training.config.base import ConfigError
from rbm_training.config.dataset import DatasetConfig, ScalingConfig
from rbm_training.config.distill import DistillConfig
from rbm_training.config.experiment import ExperimentConfig, ExportConfig
from rbm_training.config.features import FeaturesConfig
from rbm_training.config.loading import load_config
from rbm_training.config.positions import PositionsConfig
from rbm_training.config.student import RoutingConfig, StudentConfig
from rbm_training.config.teacher import AnyTeacherConfig, PrecomputedTeacherConfig, TeacherConfig

__all__ = [
    "AnyTeacherConfig",
    "ConfigError",
    "DatasetConfig",
    "DistillConfig",
    "ExperimentConfig",
    "ExportConfig",
    "FeaturesConfig",
    "PositionsConfig",
    "PrecomputedTeacherConfig",
    "RoutingConfig",
    "ScalingConfig",
    "StudentConfig",
    "TeacherConfig",
    "load_config",
]
