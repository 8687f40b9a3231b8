"""Accuracies that others published, to stand beside ours; the numbers are in `published.toml`."""

import tomllib
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbm_bundle.manifest_parts import Setting
from rbm_training.benchmark.records import Protocol
from rbm_training.config.base import Name

Percent = Annotated[float, Field(ge=0, le=100)]
PublishedMeasure = Literal["test_accuracy", "production_accuracy"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Record):
    """Where numbers were read; `caution` says why they may not compare, null when nothing does."""

    reference: str
    caution: str | None = None


class PublishedAccuracy(_Record):
    """Mean over the source's runs, in percent, and deviation, null where none was given."""

    mean: Percent
    std: Percent | None = None


class PublishedRow(_Record):
    """One method of one table, by dataset.

    `method` and `teacher` are the source's own names; what learns from nobody has no teacher. `counterpart`
    is the method of ours that comes nearest, `teacher` for a teacher, null where nothing of ours does;
    `measure` is named as in a run's line.
    """

    source: str
    protocol: Protocol
    setting: Setting
    measure: PublishedMeasure
    method: str
    teacher: str | None = None
    counterpart: Name | None = None
    percent: Annotated[dict[Name, PublishedAccuracy], Field(min_length=1)]


class Published(_Record):
    """All of it: sources by key, what is not to be had by protocol, and rows in the order of their tables."""

    sources: dict[str, Source]
    missing: dict[Protocol, str]
    rows: tuple[PublishedRow, ...]

    @model_validator(mode="after")
    def _sources_are_named(self) -> Self:
        unknown = {row.source for row in self.rows} - self.sources.keys()
        if unknown:
            raise ValueError(f"rows of sources {sorted(unknown)}, which no [sources] table describes")
        return self


def load_published() -> Published:
    """The numbers that the package ships with."""
    text = (files("rbm_training.benchmark") / "published.toml").read_text(encoding="utf-8")
    return Published.model_validate(tomllib.loads(text))
