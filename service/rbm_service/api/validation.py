"""How a JSON body is read, and what is said about one that is wrong: on every route in the same words."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rbm_service.errors import FieldError, InvalidJsonError, InvalidRequestError, UnsupportedMediaTypeError

JSON: Final = b"application/json"
MAX_LISTED_ERRORS: Final = 20
MAX_SHOWN: Final = 100  # characters of what the caller made up
# By the type of pydantic's error; what stands in braces is in the error's context.
EXPECTED: Final[Mapping[str, str]] = {
    "missing": "a value",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "union_tag_not_found": "a {discriminator}",
    "union_tag_invalid": "a {discriminator} of {expected_tags}",
}

Loc = tuple[str | int, ...]
Schema = TypeVar("Schema", bound=BaseModel)


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that is not plain JSON; `headers` are as ASGI has them, names in lower case.

    Raises:
        UnsupportedMediaTypeError: another content type, none, or an encoding on top.
    """
    given = headers.get(b"content-type", b"")
    if given != JSON and given.split(b";")[0].strip().lower() != JSON:
        raise UnsupportedMediaTypeError("the content type must be application/json")
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise UnsupportedMediaTypeError("the body must come without a content encoding")


def parse(raw: bytes | bytearray, schema: type[Schema]) -> Schema:
    """Read a body.

    Raises:
        InvalidJsonError: it is no JSON.
        InvalidRequestError: it does not fit the schema.
    """
    try:
        body: Schema = schema.__pydantic_validator__.validate_json(raw)  # as `model_validate_json` does
        return body
    except ValidationError as error:
        raise refusal_of(error, schema) from None


def refusal_of(error: ValidationError, schema: type[BaseModel]) -> InvalidJsonError | InvalidRequestError:
    """What pydantic says of a body, in the words of the service."""
    if error.error_count() > MAX_LISTED_ERRORS:
        return InvalidRequestError(f"{error.error_count()} things are wrong with the body")
    found = error.errors(include_url=False)
    if found[0]["type"] == "json_invalid":
        return InvalidJsonError(found[0]["msg"])
    listed = _listed([_mismatch(item, schema) for item in found])
    return InvalidRequestError("; ".join(map(str, listed)), errors=listed)


class _Mismatch(NamedTuple):
    """One error of pydantic's.

    Where a value may have one of several forms, pydantic tries each and reports what is wrong with each: the
    errors of one form are a branch.
    """

    place: Loc  # without pydantic's names of forms
    fork: Loc  # the part of `place` that leads to the value with several forms
    branch: Loc
    expected: str  # empty where `got` says it all
    got: str


def _mismatch(item: ErrorDetails, schema: type[BaseModel]) -> _Mismatch:
    is_unknown_key = item["type"] == "extra_forbidden"
    loc = item["loc"][:-1] if is_unknown_key else item["loc"]
    place: Loc = ()
    fork, branch = place, place
    models = [schema]
    for depth, part in enumerate(loc, start=1):
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields or isinstance(part, int):
            place += (part,)
        else:
            fork, branch = place, loc[:depth]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
    if not is_unknown_key:
        return _Mismatch(place, fork, branch, *_wording(item))
    key = str(item["loc"][-1])[:MAX_SHOWN]
    meant = difflib.get_close_matches(key, [name for model in models for name in model.model_fields], n=1)
    hint = f" (did you mean {meant[0]}?)" if meant else ""
    return _Mismatch((*place, key), fork, branch, "", f"unknown key{hint}")


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models of a field, however deep in lists and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _wording(item: ErrorDetails) -> tuple[str, str]:
    """What was expected, and what was there."""
    context: dict[str, Any] = item.get("ctx", {})
    if item["type"] == "literal_error":  # strings as JSON has them, of which "null" is one
        found = item["input"]
        shown = json.dumps(found[:MAX_SHOWN]) if isinstance(found, str) else _shown(found)
        return context["expected"].replace("'", '"'), shown
    if item["type"] not in EXPECTED:
        return "", item["msg"][:MAX_SHOWN]
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
    expected = EXPECTED[item["type"]].format(**limits).replace("'", "")
    if "tag" in context:
        return expected, json.dumps(context["tag"][:MAX_SHOWN])
    return expected, "none" if item["type"] in ("missing", "union_tag_not_found") else _shown(item["input"])


def _shown(value: object) -> str:
    """A value from a body in a few words; a number, if it is short."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        return "an integer beyond 64 bits"
    names: dict[type, str] = {str: "a string", dict: "an object"}
    return names.get(type(value)) or json.dumps(value)


def _listed(found: Sequence[_Mismatch]) -> list[FieldError]:
    """What is wrong, once for each place; of several forms, those that fit furthest into the value count."""
    furthest: dict[Loc, Loc] = {}  # by fork, and by branch
    for item in found:
        for start in {item.fork, item.branch}:
            furthest[start] = max(furthest.get(start, ()), item.place)
    meant: dict[Loc, list[_Mismatch]] = {}
    for item in found:
        if furthest[item.branch] == furthest[item.fork]:
            meant.setdefault(item.place, []).append(item)
    return [FieldError(place, _message(items)) for place, items in meant.items()]


def _message(items: Sequence[_Mismatch]) -> str:
    expected = " or ".join(dict.fromkeys(item.expected for item in items if item.expected))
    return f"expected {expected}, got {items[0].got}" if expected else items[0].got
