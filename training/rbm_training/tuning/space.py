"""What a search tries: an experiment, and the values that some of its fields may take."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, field_validator, model_validator

from rbm_training.config import ExperimentConfig
from rbm_training.config.base import Count, FrozenConfig, Seed, merged
from rbm_training.config.loading import read_document, validated
from rbm_training.config.messages import known_keys
from rbm_training.errors import suggestion

if TYPE_CHECKING:  # a search is read without what runs it
    from optuna import Trial

Choice = bool | int | float | str
Number = int | float


class Dimension(FrozenConfig):
    """The values of one field."""

    choices: Annotated[tuple[Choice, ...], Field(min_length=2)] | None = None
    """The values themselves;"""
    low: Number | None = None
    """or a range from here"""
    high: Number | None = None
    """to here, both included; of whole numbers when both are."""
    log: bool = False
    """Draw from the range on a logarithmic scale."""
    per_layer: bool = False
    """A value for each layer of the student, as a list."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "Dimension":
        bounds = (self.low, self.high)
        if (self.choices is None) == (bounds == (None, None)) or (None in bounds and bounds != (None, None)):
            raise ValueError(
                "found neither or both of `choices` and `low`, `high`; wanted the one or the other"
            )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"found low = {self.low} and high = {self.high}; wanted low < high")
        return self

    def suggest(self, trial: "Trial", name: str) -> Choice:
        """The value that a trial tries."""
        if self.choices is not None:
            return cast(Choice, trial.suggest_categorical(name, self.choices))
        assert self.low is not None
        assert self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


class TuningConfig(FrozenConfig):
    """A search."""

    experiment: Path
    """The experiment to better, a TOML file; a relative path is relative to this file."""
    num_trials: Count = 30
    """Experiments to try, pruned ones included."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1)
    """Each trial's value is the mean validation accuracy over these seeds; after each of them a trial that is
    below the median of the others so far is given up."""
    sampler_seed: Seed = 0
    """Of the search itself."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Fields that all trials have otherwise than the experiment says."""
    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    """What is tried, by field, as in `[space."distill.temperature"]`."""

    @field_validator("space")
    @classmethod
    def _fields_exist(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        known = known_keys(ExperimentConfig)
        for key in space:
            if key not in known:
                raise ValueError(f"found {key!r}; wanted a field of an experiment{suggestion(key, known)}")
        return space

    def document(self) -> dict[str, Any]:
        """The experiment that all trials begin with, its overrides applied.

        Raises:
            ConfigError: it is not there, or cannot be run as written.
        """
        document = merged(read_document(self.experiment), self.overrides)
        validated(ExperimentConfig, document, self.experiment)
        return document


def load_tuning(path: Path, overrides: Sequence[str] = ()) -> TuningConfig:
    """Read a search, and look through the experiment that it begins with.

    Raises:
        ConfigError: one of the files is not TOML, or a key or value is not one; says where and what.
    """
    config = validated(TuningConfig, read_document(path, overrides), path)
    config.document()
    return config
