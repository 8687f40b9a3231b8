"""Raw records → the arrays that a bundle's graph of records takes: one function for training and service.

What the graph's operators cannot do, or do otherwise than Python, happens here: caseless words of Unicode
text, the parts of a time, rare categories under one name, lists of tags, missing values. Scaling, one-hot
encoding and TF-IDF are the graph's. Dimension letter: B records.
"""

import difflib
import math
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from rbm_bundle.nodes import MAX_MAGNITUDE
from rbm_bundle.record_spec import NUM_NUMBERS, TIME_PARTS, WITH_WORDS, ColumnKind, RecordColumn

Value = bool | int | float | Decimal | str | Sequence[str | int] | date | None
Record = Mapping[str, Value]
Columns = Mapping[str, Sequence[Value]]
Inputs = dict[str, npt.NDArray[Any]]
T = TypeVar("T")

SEPARATOR: Final = "\x1f"
"""Between the words of a text and between tags, in which it never occurs."""
RARE: Final = "\x1f"
"""The one name of categories without a feature of their own; that of a missing one is empty."""
EXPECTED: Final[Mapping[ColumnKind, str]] = {
    "number": f"a finite number within ±{MAX_MAGNITUDE:.0e}",
    "category": "a string, number or boolean",
    "text": "a string",
    "tags": "a list of strings",
    "time": "a date or time as in ISO 8601",
}
_WORD: Final = re.compile(r"\w+")
_MISSING_TIME: Final = (math.nan,) * len(TIME_PARTS)


class RecordError(Exception):
    """A record that does not fit.

    Attributes:
        row: which of the records.
        field: which of its fields.
        got: what is there.
        expected: what should be there; empty where the field should not be.
    """

    def __init__(self, row: int, field: str, got: str, expected: str = "") -> None:
        super().__init__(row, field, got, expected)  # all four, so that it can be sent between processes
        self.row, self.field, self.got, self.expected = row, field, got, expected

    @property
    def said(self) -> str:
        """What is wrong with the field."""
        return f"expected {self.expected}, got {self.got}" if self.expected else self.got

    def __str__(self) -> str:
        return f"records[{self.row}].{self.field}: {self.said}"


class GraphInput(NamedTuple):
    """An input of the graph of records, B rows of some width."""

    dtype: str
    width: int


def graph_inputs(columns: Sequence[RecordColumn]) -> dict[str, GraphInput]:
    """What the graph of records takes, by name and in order."""
    numbers = sum(NUM_NUMBERS.get(column.kind, 0) for column in columns)
    gaps = sum(column.has_gaps for column in columns)
    categories = sum(column.kind == "category" for column in columns)
    inputs = {
        "numbers": GraphInput("float64", numbers),
        "missing": GraphInput("float64", gaps),
        "categories": GraphInput("string", categories),
    }
    texts = [column for column in columns if column.kind in WITH_WORDS]
    words = {f"words{index}": GraphInput("string", 1) for index, _ in enumerate(texts)}
    return {name: spec for name, spec in inputs.items() if spec.width} | words


def columns_of(records: Sequence[Record], names: Sequence[str]) -> dict[str, list[Value]]:
    """The fields of some records, column by column; a field that a record leaves out is None.

    Raises:
        RecordError: a field that is none of the names.
    """
    known = set(names)
    for row, record in enumerate(records):
        if unknown := sorted(record.keys() - known):
            meant = difflib.get_close_matches(unknown[0], names, n=1)
            hint = f" (did you mean {meant[0]}?)" if meant else ""
            raise RecordError(row, unknown[0][:100], f"unknown field{hint}")
    return {name: [record.get(name) for record in records] for name in names}


def encode_columns(values: Columns, columns: Sequence[RecordColumn]) -> Inputs:
    """The inputs of the graph of records: float64 and strings, each (B, width).

    Raises:
        RecordError: a value that is not of the kind of its column.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {"numbers": [], "missing": [], "categories": []}
    num_texts = 0
    for column in columns:
        given = values[column.name]
        if column.kind in NUM_NUMBERS:
            numbers = read_numbers(column.name, column.kind, given)
            is_missing = np.isnan(numbers)
            parts["numbers"].append(np.where(is_missing, column.fill, numbers))
            if column.has_gaps:
                parts["missing"].append(is_missing[:, :1].astype(np.float64))
        elif column.kind == "category":
            kept = {*column.names, ""}
            found = [name if name in kept else RARE for name in read_categories(column.name, given)]
            parts["categories"].append(_strings(found))
        else:
            parts[f"words{num_texts}"] = [_strings(read_words(column.name, column.kind, given))]
            num_texts += 1
    return {name: np.concatenate(arrays, axis=1) for name, arrays in parts.items() if arrays}


def read_numbers(name: str, kind: ColumnKind, values: Sequence[Value]) -> npt.NDArray[np.float64]:
    """Numbers, or the parts of times, (B, 1 or 5); NaN where one is missing."""
    rows: Sequence[Any]
    if kind == "number":
        rows = [(number,) for number in _each(name, kind, values, _number)]
    else:
        rows = _each(name, kind, values, _time_parts)
    return np.array(rows, np.float64).reshape(len(values), NUM_NUMBERS[kind])


def read_categories(name: str, values: Sequence[Value]) -> list[str]:
    """The name of each category, "" where it is missing."""
    return _each(name, "category", values, _category)


def read_words(name: str, kind: ColumnKind, values: Sequence[Value]) -> list[str]:
    """The words of each text or the tags of each list, with a separator between them."""
    return _each(name, kind, values, _words if kind == "text" else _tags)


def _each(name: str, kind: ColumnKind, values: Iterable[Value], convert: Callable[[Value], T]) -> list[T]:
    converted = []
    for row, value in enumerate(values):
        try:
            converted.append(convert(value))
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            shown = value.isoformat() if isinstance(value, date) else reprlib.repr(value)
            raise RecordError(row, name, shown, EXPECTED[kind]) from None
    return converted


def _number(value: Value) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    number = float(cast(float, value))  # what is no number raises
    if not abs(number) <= MAX_MAGNITUDE:
        raise ValueError
    return number


def _time_parts(value: Value) -> tuple[float, ...]:
    """Year, month, day, weekday (0 is Monday) and hour, in UTC where the value says its time zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip()) if value.strip() else None
    if value is None:
        return _MISSING_TIME
    if not isinstance(value, date):
        raise TypeError
    hour = 0
    if isinstance(value, datetime):
        value = value if value.tzinfo is None else value.astimezone(UTC)
        hour = value.hour
    return (value.year, value.month, value.day, value.weekday(), hour)


def _category(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float | Decimal):
        raise TypeError
    return _clean(str(value))


def _words(value: Value) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    # Folding case can undo the composition of characters, so composition comes last.
    return SEPARATOR.join(_WORD.findall(unicodedata.normalize("NFKC", value.casefold())))


def _tags(value: Value) -> str:
    if value is None:
        return ""
    if not isinstance(value, list | tuple):
        raise TypeError
    if any(type(tag) not in (str, int) for tag in value):
        raise TypeError
    return SEPARATOR.join(filter(None, dict.fromkeys(_clean(str(tag)) for tag in value)))


def _clean(text: str) -> str:
    """Without what separates tags, ends a string of C, or cannot be written as UTF-8."""
    text = text.replace("\0", " ").replace(SEPARATOR, " ").strip()
    return text if text.isascii() else text.encode(errors="replace").decode()


def _strings(values: Sequence[str]) -> npt.NDArray[Any]:
    return np.array(values, object).reshape(len(values), 1)
