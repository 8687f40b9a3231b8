"""What the manifest says of raw records: their fields, and the graph that makes features of them."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from rbm_bundle.manifest_parts import ManifestPart

ColumnKind = Literal["number", "category", "text", "tags", "time"]

TIME_PARTS: Final = ("year", "month", "day", "weekday", "hour")
NUM_NUMBERS: Final = {"number": 1, "time": len(TIME_PARTS)}
"""Numbers that a value of these kinds is."""
WITH_WORDS: Final = ("text", "tags")
"""Kinds of which a value is any number of words."""


class RecordColumn(ManifestPart):
    """A field of a record, and what becomes of it."""

    name: str
    """Its name in a record."""
    kind: ColumnKind
    """`number`; `category`, one of a few strings; `text`, of which the words count; `tags`, a list of
    strings; `time`, a date or time, of which year, month, day, weekday and hour are numbers."""
    num_features: int = Field(ge=1)
    """Features that it becomes: of texts and tags the terms, of a category the different ones."""
    fill: tuple[float, ...] = ()
    """Kinds `number` and `time`: what stands in for a missing value, the mean of each number."""
    has_gaps: bool = False
    """Kinds `number` and `time`: whether a feature says that the value is missing."""
    names: tuple[str, ...] = ()
    """Kind `category`: those with a feature of their own; all others share one, if training had such."""

    @model_validator(mode="after")
    def _fill_fits(self) -> Self:
        wanted = NUM_NUMBERS.get(self.kind, 0)
        if len(self.fill) != wanted:
            raise ValueError(f"{len(self.fill)} numbers in fill of {self.name!r}, expected {wanted}")
        return self


class RecordsSpec(ManifestPart):
    """How records become features, and how a session proves that it does so."""

    file: str
    """The ONNX graph."""
    golden_file: str
    """Records and what scikit-learn made of them."""
    num_golden: int = Field(ge=1)
    """How many."""
    atol: float = Field(gt=0)
    """How far a feature may be from scikit-learn's."""
    columns: tuple[RecordColumn, ...] = Field(min_length=1)
    """The fields of a record; one that a record leaves out, or null, is a missing value."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("a field of records named twice")
        return self

    @property
    def num_features(self) -> int:
        """F, what all fields together become."""
        return sum(column.num_features for column in self.columns)
