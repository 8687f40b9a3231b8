"""Everything that can go wrong, in one hierarchy: `RbmError` is the base of all.

RbmError
  InputError                what was given cannot be sent
  TransportError            no answer came: ConnectionFailedError, ConnectionLostError, TimedOutError
  InvalidAnswerError        an answer came, but not one of the service
  StatusError               the service refused or failed; the classes below it say how
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final


class RbmError(Exception):
    """Base of all errors of this package."""


class InputError(RbmError, ValueError):
    """What was given is nothing that could be sent."""


class TransportError(RbmError):
    """The request could not be sent, or no answer came."""


class ConnectionFailedError(TransportError):
    """No connection came about: nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection ended before the answer was there; the service may have done what it was asked."""


class TimedOutError(TransportError):
    """The answer was not there in time."""


class InvalidAnswerError(RbmError):
    """What answered does not speak as the service does: another server, perhaps, or a proxy."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing wrong with a request: where in its body, and what."""

    loc: tuple[str | int, ...]
    msg: str


class StatusError(RbmError):
    """The service answered with an error.

    Attributes:
        status: the HTTP status.
        code: the kind of error, the words of the service's table of errors; None where it gave none.
        message: what went wrong, for people.
        details: what is wrong where in the body, if the service says so.
        request_id: by which the log of the service knows the request.
        retry_after_seconds: when to come again, if the service says so.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        details: tuple[Detail, ...] = (),
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(status, code, message, details, request_id, retry_after_seconds)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        kind = f"{self.status} {self.code}" if self.code else f"{self.status}"
        known_as = f" (request {self.request_id})" if self.request_id else ""
        return f"{kind}: {self.message}{known_as}"


class InvalidRequestError(StatusError):
    """The service cannot answer this request, now or later."""


class UnauthorizedError(StatusError):
    """The service wants a key, and there is none or not a known one."""


class ForbiddenError(StatusError):
    """The key is not the admin's."""


class NotFoundError(StatusError):
    """What was named is not there."""


class UnknownModelError(NotFoundError):
    """No model of this name is in service, or not in this version."""


class UnknownNodeError(NotFoundError):
    """The model does not know some ids, and they came without neighbours or positions."""


class ConflictError(StatusError):
    """A command does not go with how things are; it has changed nothing."""


class ModelRefusedError(StatusError):
    """A version could not be loaded or failed its checks; nothing has changed."""


class OverloadedError(StatusError):
    """The service has more to do than it can."""


class UnavailableError(StatusError):
    """The service is starting, recovering or about to end."""


class DeadlineExceededError(StatusError):
    """The service did not get to an answer within its own time limit."""


class BackendError(StatusError):
    """The service failed; its log says why."""


BY_CODE: Final = {
    "unknown_model": UnknownModelError,
    "unknown_node": UnknownNodeError,
    "model_refused": ModelRefusedError,
}
BY_STATUS: Final = {
    **dict.fromkeys((400, 405, 413, 415, 422), InvalidRequestError),
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    408: DeadlineExceededError,
    409: ConflictError,
    429: OverloadedError,
    500: BackendError,
    503: UnavailableError,
    504: DeadlineExceededError,
}
CODES: Final[Mapping[int, str]] = {
    400: "invalid_json",
    401: "unauthorized",
    403: "forbidden",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "validation",
    429: "overloaded",
    500: "backend",
    504: "deadline_exceeded",
}
"""The Open Inference Protocol knows no codes; these follow from the status."""


def status_error(
    status: int, headers: Mapping[str, str], content: bytes, codes: Mapping[int, str] = CODES
) -> StatusError:
    """Return what an answer with a status of 300 or more says went wrong.

    It is a problem of RFC 9457, `{"error": ...}` under `/v2`, or what some proxy wrote.

    Args:
        codes: what the statuses mean where the answer itself has no code.
    """
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    problem = said.get("detail", said.get("error"))
    code = said.get("code", codes.get(status) if "error" in said else None)
    code = code if isinstance(code, str) else None
    kind = BY_CODE.get(code or "") or BY_STATUS.get(status, StatusError)
    message = problem if isinstance(problem, str) else _phrase(status)
    retry_after = _seconds(headers.get("retry-after"))
    return kind(status, code, message, _details(said), headers.get("x-request-id"), retry_after)


def as_unknown_node(error: NotFoundError) -> UnknownNodeError:
    """Return the error with the code that it has where its form knows codes."""
    return UnknownNodeError(error.status, "unknown_node", error.message, (), error.request_id)


def invalid_answer(source: str, found: object, wanted: str) -> InvalidAnswerError:
    """Return the error of an answer that the service would not give."""
    text: Any = found if isinstance(found, str) else repr(found)
    return InvalidAnswerError(f"{source}: found {text[:100]}; wanted {wanted}")


def _details(problem: Mapping[str, Any]) -> tuple[Detail, ...]:
    errors = problem.get("errors")
    wrong = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    return tuple(Detail(tuple(each.get("loc", ())), str(each.get("msg"))) for each in wrong)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an error without a description"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds from now, of a header that gives either those or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
