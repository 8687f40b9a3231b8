"""What is said of a document that does not fit: where, what was found, and what may have been meant."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rbm_training.errors import did_you_mean, suggestion

OF_KEY: Final = "[key]"
"""What pydantic adds to the place of a key that is not one."""


def in_words(error: ValidationError, kind: type[BaseModel]) -> str:
    """All that is wrong with a document of this kind, on one line."""
    return "; ".join(_sentence(issue, kind) for issue in error.errors())


def known_keys(kind: type[BaseModel]) -> list[str]:
    """The dotted names of all fields of a document: its own, then those of its sections."""
    keys = list(kind.model_fields)
    for section, field in kind.model_fields.items():
        if get_origin(field.annotation) is not dict:  # whose sections have names of the user's
            keys += [
                f"{section}.{name}" for model in _models_in(field.annotation) for name in model.model_fields
            ]
    return list(dict.fromkeys(keys))


def _sentence(issue: ErrorDetails, kind: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in issue["loc"] if part != OF_KEY) or "experiment"
    if issue["type"] == "extra_forbidden":
        return f"{place}: found an unknown key{_instead(kind, issue['loc'])}"
    if issue["type"] in ("missing", "value_error"):
        return f"{place}: {issue['msg']}"
    found = issue["input"]
    choices = re.findall(r"'([^']+)'", str(issue.get("ctx", {}).get("expected", "")))
    return f"{place}: {issue['msg']} (found {found!r}){suggestion(found, choices)}"


def _instead(kind: type[BaseModel], loc: Sequence[int | str]) -> str:
    """What an unknown key may stand for: the nearest one beside it, and its namesakes in other sections."""
    *parents, key = map(str, loc)
    beside = [name for model in _models_at(kind, parents) for name in model.model_fields]
    meant = get_close_matches(key, beside, n=1)
    namesakes = [name for name in known_keys(kind) if name.rpartition(".")[2] == key]
    if ".".join((*parents[:1], key)) not in namesakes:  # else another `kind` of the same section reads it
        meant += namesakes
    return did_you_mean(meant) or f"; wanted one of {', '.join(beside)}"


def _models_at(kind: type[BaseModel], path: Sequence[str]) -> list[type[BaseModel]]:
    """The records that may stand at a path of pydantic's, which names the `kind` of a record too."""
    models = [kind]
    for part in path:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = list(dict.fromkeys(model for field in fields for model in _models_in(field.annotation)))
        else:
            named = [model for model in models if part in _kinds(model)]
            # Where no record has a fixed kind of that name, it is one of those that take any registered kind.
            models = named or [model for model in models if not _kinds(model)] or models
    return models


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    """The kinds that a record is fixed to, none where it takes any that is registered."""
    field = model.model_fields.get("kind")
    return () if field is None else get_args(field.annotation)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The records in an annotation, however deep in unions and tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
