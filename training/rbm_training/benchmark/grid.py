"""A method in several sizes: a `grid` in its table stands for a method at each of its points.

`grid = { "student.hidden" = [4, 16], "student.num_experts" = [8] }` of `rbm` stands for `rbm H=4 E=8` and
`rbm H=16 E=8`.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from rbm_training.config import ExperimentConfig
from rbm_training.config.base import Overrides, merged
from rbm_training.config.messages import known_keys
from rbm_training.errors import suggestion

GRID: Final = "grid"
LETTERS: Final = {
    "student.num_layers": "L",
    "student.hidden": "H",
    "student.num_experts": "E",
    "student.top_k": "K",
}
"""Names of fields in the name of a point; others have the last part of their own."""

Points = dict[str, dict[str, Any]]


def check_grid(method: str, grid: object) -> None:
    """Raise ValueError unless a grid has fields of an experiment, and for each a list of values that a point
    can be named by."""
    if not isinstance(grid, Mapping) or not all(
        isinstance(values, list) and values for values in grid.values()
    ):
        raise ValueError(
            f"found method.{method}.grid = {grid!r}; wanted a list of values for each field, as in"
            ' grid = { "student.hidden" = [4, 16] }'
        )
    known = [key for key in known_keys(ExperimentConfig) if "." in key]
    for key, values in grid.items():
        if key not in known:
            wanted = f"a field of an experiment{suggestion(key, known)}"
            raise ValueError(f"found {key!r} in method.{method}.grid; wanted {wanted}")
        for value in values:
            if not re.fullmatch(r"\S+", _shown(value)):
                wanted = "values of one word each, which points are named by"
                raise ValueError(f"found {value!r} in method.{method}.grid.{key!r}; wanted {wanted}")


def points_of(method: str, table: Overrides) -> Points:
    """The tables of the methods that a method stands for, by name; itself alone without a grid."""
    if GRID not in table:
        return {method: dict(table)}
    own = {"like": method, **{key: value for key, value in table.items() if key != GRID}}
    grid: Mapping[str, list[Any]] = table[GRID]
    points = {}
    for values in itertools.product(*grid.values()):
        fields = dict(zip(grid, values, strict=True))
        points[_name(method, fields)] = merged(own, *map(_nested, fields, values))
    return points


def is_possible(table: Overrides) -> bool:
    """Whether a layer has as many experts as a row is sent to, where a table says both."""
    student = table.get("student", {})
    if "num_experts" not in student or "top_k" not in student:
        return True
    experts = student["num_experts"]
    try:
        return bool(student["top_k"] <= (max(experts) if isinstance(experts, list) else experts))
    except (TypeError, ValueError):  # no numbers: what the experiment says is wrong with them
        return True


def is_point(method: str) -> bool:
    """Whether a method is a point of a grid."""
    return " " in method


def family_of(method: str) -> str:
    """The method whose grid a point is of."""
    return method.partition(" ")[0]


def place_of(method: str) -> str:
    """Where in its grid a point is: `H=4 E=8`."""
    return method.partition(" ")[2]


def _name(method: str, fields: Mapping[str, Any]) -> str:
    return " ".join([method, *(f"{_letter(key)}={_shown(value)}" for key, value in fields.items())])


def _letter(key: str) -> str:
    return LETTERS.get(key, key.rpartition(".")[2])


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a field takes
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _nested(key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}
