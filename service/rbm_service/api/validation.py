"""How a JSON body is read, and what is said about one that is wrong."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rbm_service.api.schemas import CSR_FORM, DENSE_FORM
from rbm_service.errors import (
    FieldError,
    InvalidJsonError,
    InvalidRequestError,
    ServiceError,
    UnsupportedMediaTypeError,
)

JSON: Final = b"application/json"


MAX_LISTED_ERRORS: Final = 20


MAX_SHOWN_KEY: Final = 100  # characters of a key that the caller made up


Loc = tuple[str | int, ...]


Body = TypeVar("Body", bound=BaseModel)


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


def parse(raw: bytes, schema: type[Body]) -> Body:
    """Read a body.

    Raises:
        InvalidJsonError: it is no JSON.
        InvalidRequestError: it does not fit the schema.
    """
    try:
        body: Body = schema.__pydantic_validator__.validate_json(raw)  # as `model_validate_json` does
        return body
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ServiceError:
    if error.error_count() > MAX_LISTED_ERRORS:
        return InvalidRequestError(f"{error.error_count()} things are wrong with the body")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return InvalidJsonError(found[0]["msg"])
    listed = _listed(found)
    return InvalidRequestError("; ".join(map(str, listed)), errors=listed)


def _listed(found: Sequence[ErrorDetails]) -> list[FieldError]:
    """What is wrong, once; pydantic speaks of both forms of `features`, the caller meant one of them."""
    an_object = ("features", CSR_FORM) not in [item["loc"] for item in found]
    meant, other = (CSR_FORM, DENSE_FORM) if an_object else (DENSE_FORM, CSR_FORM)
    shown = [
        FieldError(_shown(item["loc"], meant), item["msg"])
        for item in found
        if item["loc"][:2] != ("features", other)
    ]
    return list(dict.fromkeys(map(_of_either_kind, shown)))


def _of_either_kind(error: FieldError) -> FieldError:
    """For an id, pydantic says of each kind by itself that it is not of this one."""
    if error.loc[:1] in (("node_ids",), ("neighbors",)) and error.loc[-1] in ("int", "str"):
        return FieldError(error.loc[:-1], "Input should be an integer or a string")
    return error


def _shown(loc: Loc, form: str) -> Loc:
    place = ("features", *loc[2:]) if loc[:2] == ("features", form) else loc
    return tuple(part[:MAX_SHOWN_KEY] if isinstance(part, str) else part for part in place)
