"""What `classify` takes, brought into one form, whatever it came in.

Dimension letters: N rows, F features, P position width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, Final, Literal, Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from rbm_client.errors import InputError

Id = int | str
Floats = npt.NDArray[np.floating[Any]]


class Table(Protocol):
    """A pandas DataFrame, Series or Index, or whatever else becomes an array in the same way."""

    def to_numpy(self) -> Any:  # noqa: ANN401 - as pandas has it
        """Return the values as an array."""


Ids = Sequence[int] | Sequence[str] | npt.NDArray[Any] | Table
Matrix = Sequence[Sequence[float]] | npt.NDArray[Any] | Table


class Asked(TypedDict, total=False):
    """What `classify` takes, all by name. Columns are N long; at least one of them is needed."""

    node_ids: Ids | None
    """[N] ids of nodes, integers or strings as the model has them."""
    features: Matrix | None
    """[N][F] raw features; optional where the model caches those of all these ids."""
    records: Sequence[Mapping[str, Any]] | None
    """[N] features by name, in place of `features`."""
    neighbors: Sequence[Ids | None] | None
    """[N] ids of each node's neighbours, for nodes that the model has never seen; None: look the node up."""
    positions: Matrix | None
    """[N][P] positional encodings, for callers who have them."""
    model: str | None
    """Name of the model; None: the service's default."""
    version: int | None
    """The version that has to answer; None: the one in service."""
    top_k: int
    """How many classes to list for each node, most probable first; from 2 on they are in the answer."""
    explain: bool
    """Whether to tell the experts that each node was routed to."""
    return_probabilities: bool
    """Whether to tell the probability of every class."""
    min_confidence: float | None
    """0 to 1; below it the answer abstains."""
    on_unknown: Literal["error", "null"]
    """What to do about nodes that the model does not know and that come without neighbours, a position or
    features: `error` raises `UnknownNodeError`, `null` answers for all others."""
    binary: bool | None
    """Whether numbers go as bytes; None: from 64 rows of features on. Not with `neighbors` or `records`."""


COLUMNS: Final = ("node_ids", "features", "records", "neighbors", "positions")
OPTIONS: Final = ("top_k", "explain", "return_probabilities", "min_confidence", "on_unknown")


@dataclass(frozen=True, slots=True)
class Question:
    """What one `classify` asks.

    Attributes:
        columns: those that were given, by name: ids and records as lists, numbers as (N, F) and (N, P).
        options: those that were given, by the names that the service has for them.
        binary: whether numbers have to be sent as bytes; None: where it pays.
    """

    num_rows: int
    columns: Mapping[str, Any]
    options: Mapping[str, Any]
    model: str | None
    version: int | None
    binary: bool | None

    @property
    def in_part(self) -> bool:
        """Whether nodes that the model does not know are left without an answer."""
        return self.options.get("on_unknown") == "null"


def read_question(asked: Asked) -> Question:
    """Read the arguments of `classify`.

    Raises:
        InputError: a column that is none, numbers that are not finite, or columns of several lengths.
        TypeError: an argument that there is not.
    """
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if unknown := given.keys() - Asked.__annotations__.keys():
        raise TypeError(
            f"classify: found argument {min(unknown)!r}; wanted {', '.join(Asked.__annotations__)}"
        )
    columns: dict[str, Any] = {name: READERS[name](name, given[name]) for name in COLUMNS if name in given}
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths:
        raise InputError(f"classify: found no column; wanted one of {', '.join(COLUMNS)}")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} of {length}" for name, length in lengths.items())
        raise InputError(f"classify: found {found}; wanted columns of one length")
    for name in ("neighbors", "records"):
        if given.get("binary") and name in columns:
            raise InputError(
                f"classify: found binary with {name}; wanted node_ids, features or positions alone"
            )
    return Question(
        num_rows=next(iter(lengths.values())),
        columns=columns,
        options={name: given[name] for name in OPTIONS if name in given},
        model=given.get("model"),
        version=given.get("version"),
        binary=given.get("binary"),
    )


def _read_ids(name: str, values: Any) -> list[Id]:  # noqa: ANN401 - anything may be given
    values = values.to_numpy() if hasattr(values, "to_numpy") else values
    if isinstance(values, str | bytes | Mapping) or np.ndim(values) == 0:
        raise InputError(f"{name}: found {type(values).__name__}; wanted a list or an array of ids")
    ids = values.tolist() if isinstance(values, np.ndarray) else [_plain(value) for value in values]
    kinds = {type(value) for value in ids}
    if kinds - {int} and kinds - {str}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{name}: found {found}; wanted ids that are all int or all str")
    return ids


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything may be given
    """A scalar of numpy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _read_matrix(name: str, values: Any) -> Floats:  # noqa: ANN401 - anything may be given
    values = values.to_numpy() if hasattr(values, "to_numpy") else values
    try:
        matrix = np.asarray(values)
        if matrix.dtype != np.float32:
            matrix = matrix.astype(np.float64)
    except (TypeError, ValueError) as error:
        what = str(error).partition(". ")[0]
        raise InputError(f"{name}: found {what}; wanted rows of numbers, all of one length") from None
    if matrix.ndim != 2:
        raise InputError(f"{name}: found shape {matrix.shape}; wanted (N, width)")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise InputError(f"{name}[{row}][{column}]: found {matrix[row, column]}; wanted a finite number")
    return matrix


def _read_neighbors(name: str, values: Any) -> list[list[Id] | None]:  # noqa: ANN401 - anything may be given
    return [None if ids is None else _read_ids(f"{name}[{row}]", ids) for row, ids in enumerate(values)]


def _read_records(name: str, values: Any) -> Sequence[Mapping[str, Any]]:  # noqa: ANN401 - anything may be given
    for row, record in enumerate(values):
        if not isinstance(record, Mapping):
            raise InputError(f"{name}[{row}]: found {type(record).__name__}; wanted features by name")
    return [{field: _as_json(value) for field, value in record.items()} for record in values]


def _as_json(value: Any) -> Any:  # noqa: ANN401 - whatever the service may take
    """A table's value as JSON has it: decimals, times, and NaN for what is missing are written otherwise."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return None if isinstance(value, float | np.floating) and np.isnan(value) else value


READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "node_ids": _read_ids,
    "features": _read_matrix,
    "records": _read_records,
    "neighbors": _read_neighbors,
    "positions": _read_matrix,
}
