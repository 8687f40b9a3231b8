"""The errors that callers are told of. `web/error_response.py` makes them answers.

A detail speaks of the request alone; what the runtime or the disk has to say stays in the log.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Literal

FailureReason = Literal[
    "rejected", "canceled", "backend", "validation", "unauthorized", "too_large", "deadline", "other"
]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request: where in the body, and what."""

    loc: tuple[str | int, ...]
    msg: str

    def __str__(self) -> str:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc)
        return f"{place.lstrip('.')}: {self.msg}" if place else self.msg


class ServiceError(Exception):
    """A request that gets an error for an answer.

    Attributes:
        status: the HTTP status.
        code: the word by which a program recognises the error.
        reason: the label under which `rbm_inference_failures_total` counts it.
        default_detail: what is said where an error of this class always says the same.
        default_headers: of the answer, where no others are given.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    reason: ClassVar[FailureReason] = "other"
    default_detail: ClassVar[str] = ""
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        detail: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = self.default_detail if detail is None else detail
        super().__init__(self.detail)
        self.errors = tuple(errors)
        self.headers = dict(headers or self.default_headers)


class InvalidJsonError(ServiceError):
    """The body is not JSON."""

    status, code, reason = HTTPStatus.BAD_REQUEST, "invalid_json", "validation"


class InvalidRequestError(ServiceError):
    """The body is JSON, but not a request this model can answer."""

    status, code, reason = HTTPStatus.UNPROCESSABLE_ENTITY, "validation", "validation"

    @classmethod
    def at(cls, *loc: str | int, msg: str) -> "InvalidRequestError":
        """One thing wrong at one place of the body."""
        error = FieldError(loc, msg)
        return cls(str(error), errors=[error])

    @classmethod
    def mismatch(cls, *loc: str | int, expected: object, got: object) -> "InvalidRequestError":
        """The same, in the words of every mismatch."""
        return cls.at(*loc, msg=f"expected {expected}, got {got}")


class UnknownNodeError(ServiceError):
    """Ids the bundle has never seen, without neighbours or positions to place them by."""

    status, code, reason = HTTPStatus.NOT_FOUND, "unknown_node", "validation"

    def __init__(self, unknown: Sequence[int | str]) -> None:
        shown = ", ".join(shortened(node_id) for node_id in unknown[:5])
        more = ", ..." if len(unknown) > 5 else ""
        super().__init__(f"{len(unknown)} unknown: {shown}{more}; give neighbors or positions for such nodes")
        self.num_unknown = len(unknown)


class UnknownModelError(ServiceError):
    """No such model in service, or not in this version."""

    status, code, reason = HTTPStatus.NOT_FOUND, "unknown_model", "validation"


class UnauthorizedError(ServiceError):
    """The route needs a key, and the request has none that is known."""

    status, code, reason = HTTPStatus.UNAUTHORIZED, "unauthorized", "unauthorized"
    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ServiceError):
    """The key is known, but this is not for its holder."""

    status, code, reason = HTTPStatus.FORBIDDEN, "forbidden", "unauthorized"


class NotFoundError(ServiceError):
    """No such route."""

    status, code = HTTPStatus.NOT_FOUND, "not_found"


class MethodNotAllowedError(ServiceError):
    """The route exists, but not for this method."""

    status, code = HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed"


class RequestTimeoutError(ServiceError):
    """The body did not arrive in time; what would still come of it is not read."""

    status, code, reason = HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "canceled"
    default_headers: ClassVar = {"Connection": "close"}

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"the body did not arrive within {limit_seconds:g} s")


class ConflictError(ServiceError):
    """What was asked for does not go with how things are; nothing was changed."""

    status, code = HTTPStatus.CONFLICT, "conflict"


class ModelRefusedError(ServiceError):
    """A version failed its checks; nothing was changed. The detail is for operators."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "model_refused"


class PayloadTooLargeError(ServiceError):
    """The body is longer than the service reads."""

    status, code, reason = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload_too_large", "too_large"

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(f"the body is longer than {max_body_bytes} bytes")


class UnsupportedMediaTypeError(ServiceError):
    """The body is of a type or an encoding the service does not read."""

    status, code, reason = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "validation"


class OverloadedError(ServiceError):
    """The queue is full, or there is no room for the body; the request may come back later."""

    status, code, reason = HTTPStatus.TOO_MANY_REQUESTS, "overloaded", "rejected"

    def __init__(self, retry_after_seconds: float, why: str = "the queue is full") -> None:
        seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(f"{why}; try again in {seconds} s", headers={"Retry-After": str(seconds)})


class BackendError(ServiceError):
    """The service failed; the log says why."""

    status, code, reason = HTTPStatus.INTERNAL_SERVER_ERROR, "backend", "backend"
    default_detail = "the request could not be computed"


class WarmingError(ServiceError):
    """No model is in service at the moment."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "warming"
    default_detail = "no model is in service yet"
    default_headers: ClassVar = {"Retry-After": "1"}


class DrainingError(ServiceError):
    """The service is about to end; another replica, or this one after its restart, will answer."""

    status, code, reason = HTTPStatus.SERVICE_UNAVAILABLE, "draining", "rejected"
    default_detail = "the service is about to end"
    default_headers: ClassVar = {"Retry-After": "1"}


class UnhealthyError(ServiceError):
    """The engine failed and is being rebuilt; another replica, or this one in a while, will answer."""

    status, code, reason = HTTPStatus.SERVICE_UNAVAILABLE, "unhealthy", "rejected"
    default_detail = "the engine failed and is being rebuilt"
    default_headers: ClassVar = {"Retry-After": "5"}


class DeadlineExceededError(ServiceError):
    """The answer was not there when the caller stopped waiting for it."""

    status, code, reason = HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded", "deadline"
    default_detail = "the request was not computed within its time limit"


class EngineError(Exception):
    """The runtime cannot run the graph where it was asked to, or computed nothing usable."""


def reason_of(error: BaseException) -> str:
    """What an error says, as text that can be sent: names of files may hold bytes that are no UTF-8."""
    return str(error).encode("utf-8", "backslashreplace").decode()


def shortened(value: int | str | None) -> str:
    """A name, id or number that a caller made up, cut to a length that can be shown."""
    text = repr(value)
    return text if len(text) <= 50 else text[:50] + "..."
