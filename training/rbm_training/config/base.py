"""What every part of an experiment is made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rbm_bundle.manifest import NAME_PATTERN
from rbm_training.errors import TrainingError

Probability = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
MethodName = Literal["glnn", "krd", "nosmog", "mlp", "mlp-flops", "mlp-wide", "mlp-ensemble", "moe", "rbm"]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class ConfigError(TrainingError):
    """An experiment that cannot be run as written."""


class Part(BaseModel):
    """A frozen table of an experiment; unknown keys are refused, every field is explained beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
