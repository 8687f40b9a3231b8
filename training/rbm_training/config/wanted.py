"""What a field wants, in plain words, from what pydantic says of a value that does not fit."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from rbm_bundle.manifest import NAME_PATTERN

WHOLE_NUMBER: Final = "a whole number"
_WANTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), WHOLE_NUMBER),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "finite_number": "a finite number",
    "string_type": "a string",
    "path_type": "a path, as a string",
    "missing": "a value for it",
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def wanted(issue: ErrorDetails, field: str) -> str:
    """What stands behind "wanted" in a message about a field; without its name where it may be other things
    too."""
    kind, context = issue["type"], issue.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {context[bound]:g}"
    if kind in _FORMS:
        return _FORMS[kind](field, issue["input"])
    if "expected" in context:
        return str(context["expected"])
    if kind == "string_pattern_mismatch" and context["pattern"] == NAME_PATTERN:
        return "up to 100 letters, digits, dots, dashes and underscores, the first a letter or digit"
    if kind == "too_short":
        form = "table" if isinstance(issue["input"], Mapping) else "list"
        return f"a {form} of at least {context['min_length']}"
    return _WANTED.get(kind, issue["msg"])


def shown(value: object) -> str:
    """A value as it is found, on a line."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        return "a list of tables"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _list(field: str, found: object) -> str:
    if not field or not isinstance(found, str | int | float):
        return "a list"
    return f"a list, as in {field.rpartition('.')[2]} = [{json.dumps(found)}]"


def _table(field: str, found: object) -> str:
    named = f"a table, [{field}]" if field else "a table"
    return named + (" in single brackets" if isinstance(found, list) else "")


_FORMS: Final[Mapping[str, Callable[[str, Any], str]]] = {
    **dict.fromkeys(("tuple_type", "list_type"), _list),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), _table),
}
