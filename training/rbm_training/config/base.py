"""What every part of an experiment is made of."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbm_bundle.manifest import NAME_PATTERN
from rbm_training.errors import TrainingError

Overrides = Mapping[str, Any]
Probability = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
MethodName = Literal[
    "glnn",
    "krd",
    "nosmog",
    "mlp",
    "mlp-ensemble",
    "mlp-flops-head",
    "mlp-flops",
    "mlp-wide",
    "moe-head",
    "moe",
    "rbm-head",
    "rbm",
]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class ConfigError(TrainingError):
    """An experiment that cannot be run as written."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """The name that a field has now, and its value made of the old field's."""

    name: str
    convert: Callable[[Any], Any] = lambda value: value


def inverse(value: Any) -> Any:  # noqa: ANN401 - whatever the file says; the field says what is wrong with it
    """Return 1 / value of a number that has one."""
    return 1 / value if isinstance(value, int | float) and value else value


class FrozenConfig(BaseModel):
    """A frozen table of an experiment; unknown keys are refused, every field is explained beside it.

    Names of fields and values of the release before are taken with a warning that says the new one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    old_names: ClassVar[Mapping[str, Renamed]] = {}
    old_values: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _take_old_names(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        taken = dict(given)
        for old, new in cls.old_names.items():
            if old in taken:
                if new.name in taken:
                    raise ValueError(f"found both {old} and {new.name}, which is its new name; wanted one")
                _warn(old, new.name)
                taken[new.name] = new.convert(taken.pop(old))
        for name, values in cls.old_values.items():
            if name in taken:
                taken[name] = _with_new_values(taken[name], values)
        return cls.completed(taken)

    @classmethod
    def completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return a table, its names those of today, with what it means but leaves out."""
        return given


def _with_new_values(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, list | tuple):
        return [_with_new_values(each, values) for each in value]
    if isinstance(value, str) and value in values:
        _warn(repr(value), repr(values[value]))
        return values[value]
    return value


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is called {new} now, and only so from the next release on", FutureWarning, 2)


def merged(*tables: Overrides) -> dict[str, Any]:
    """Nested tables laid over each other, the last on top."""
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            below = result.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                result[key] = merged(below, value)
            else:
                result[key] = value
    return result
