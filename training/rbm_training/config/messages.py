"""What is said of a document that does not fit: where, what was found, and what may have been meant."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rbm_training.config.wanted import shown, wanted
from rbm_training.errors import did_you_mean, suggestion

LIKELY: Final = 0.75
"""How alike, 0..1, a key and a name must be for the one to stand for the other, wherever they are."""
OF_KEY: Final = "[key]"
"""What pydantic adds to the place of a key that is not one."""


def in_words(error: ValidationError, kind: type[BaseModel], document: Mapping[str, Any]) -> str:
    """All that is wrong with a document of this kind, on one line."""
    issues = error.errors()
    fields = {name.rpartition(".")[2] for name in known_keys(kind)}
    places = [_place(issue["loc"], document, fields) for issue in issues]
    told: dict[tuple[str, str], list[ErrorDetails]] = {}
    for place, issue in zip(places, issues, strict=True):
        # What is wrong inside a value says more than that the value as a whole is not something else.
        if not any(other.startswith((f"{place}.", f"{place}[")) for other in places):
            told.setdefault((place, shown(issue["input"])), []).append(issue)
    return "; ".join(_sentence(place, alike, kind) for (place, _), alike in told.items())


def known_keys(kind: type[BaseModel]) -> list[str]:
    """The dotted names of all fields of a document: its own, then those of its sections."""
    keys = list(kind.model_fields)
    for section, field in kind.model_fields.items():
        if get_origin(field.annotation) is not dict:  # whose sections have names of the user's
            keys += [
                f"{section}.{name}" for model in _models_in(field.annotation) for name in model.model_fields
            ]
    return list(dict.fromkeys(keys))


def _place(loc: Sequence[int | str], document: Mapping[str, Any], fields: Collection[str]) -> str:
    """The dotted name of a field as its file has it: without the kinds that pydantic tried."""
    place = ""
    value: object = document
    for part in loc:
        inside = value if isinstance(value, Mapping) else {}
        if isinstance(part, int):
            place += f"[{part}]"
        elif part != OF_KEY and (part in fields or part in inside):
            place += f".{part}" if place else part
            value = inside.get(part)
    return place


def _sentence(place: str, issues: Sequence[ErrorDetails], kind: type[BaseModel]) -> str:
    """What is wrong in one place, where a field may be one thing or another."""
    issue = issues[0]
    if issue["type"] == "extra_forbidden":
        return f"{place}: found an unknown key{_instead(kind, issue['loc'])}"
    if issue["type"] == "value_error":
        return f"{place or 'experiment'}: {issue['msg'].removeprefix('Value error, ')}"
    found = "none" if issue["type"] == "missing" else shown(issue["input"])
    expected = " ".join(str(each.get("ctx", {}).get("expected", "")) for each in issues)
    choices = re.findall(r"'([^']+)'", expected)
    alone = place if len(issues) == 1 else ""
    all_wanted = " or ".join(dict.fromkeys(wanted(each, alone) for each in issues))
    return f"{place}: found {found}; wanted {all_wanted}{suggestion(issue['input'], choices)}"


def _instead(kind: type[BaseModel], loc: Sequence[int | str]) -> str:
    """What an unknown key may stand for: one beside it, and its namesakes in other sections; where neither is
    likely, one nearly so called in another section."""
    *parents, key = map(str, loc)
    beside = [name for model in _models_at(kind, parents) for name in model.model_fields]
    likely = get_close_matches(key, beside, n=1, cutoff=LIKELY)
    elsewhere = _elsewhere(kind, parents, key, nearly=not likely)
    meant = (likely if elsewhere else get_close_matches(key, beside, n=1)) + elsewhere
    return did_you_mean(meant) or f"; wanted one of {', '.join(beside)}"


def _elsewhere(kind: type[BaseModel], parents: Sequence[str], key: str, nearly: bool) -> list[str]:
    known = {name: name.rpartition(".")[2] for name in known_keys(kind)}
    if ".".join((*parents[:1], key)) in known:  # which another `kind` of the same section reads
        return []
    others = [name for name in known if name.rpartition(".")[0] not in parents[:1]]
    if key not in known.values() and nearly:
        key = next(iter(get_close_matches(key, [known[name] for name in others], n=1, cutoff=LIKELY)), key)
    return [name for name in others if known[name] == key]


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
