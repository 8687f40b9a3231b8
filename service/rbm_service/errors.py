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
    reason: ClassVar[FailureReason]
    default_detail: ClassVar[str] = ""
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, status: int, code: str, reason: FailureReason = "other") -> None:
        cls.status, cls.code, cls.reason = HTTPStatus(status), code, reason

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


class InvalidJsonError(ServiceError, status=400, code="invalid_json", reason="validation"):
    """The body is not JSON."""


class InvalidRequestError(ServiceError, status=422, code="validation", reason="validation"):
    """The body is JSON, but not a request this model can answer."""

    @classmethod
    def at(cls, *loc: str | int, msg: str) -> "InvalidRequestError":
        """One thing wrong at one place of the body."""
        error = FieldError(loc, msg)
        return cls(str(error), errors=[error])

    @classmethod
    def mismatch(cls, *loc: str | int, expected: object, got: object) -> "InvalidRequestError":
        """The same, in the words of every mismatch."""
        return cls.at(*loc, msg=f"expected {expected}, got {got}")


class UnknownNodeError(ServiceError, status=404, code="unknown_node", reason="validation"):
    """Ids the bundle has never seen, without neighbours or positions to place them by."""

    def __init__(self, unknown: Sequence[int | str]) -> None:
        shown = ", ".join(shortened(node_id) for node_id in unknown[:5])
        more = ", ..." if len(unknown) > 5 else ""
        super().__init__(
            f"expected ids that the model knows, got {len(unknown)} unknown: {shown}{more}; such nodes need "
            'features and neighbors or positions, or on_unknown "null"'
        )
        self.num_unknown = len(unknown)


class UnknownModelError(ServiceError, status=404, code="unknown_model", reason="validation"):
    """No such model in service, or not in this version."""


class NoMapError(ServiceError, status=404, code="no_map"):
    """The bundle of the model has no map."""


class NoModelCardError(ServiceError, status=404, code="no_model_card"):
    """The bundle of the model has no model card."""


class UnauthorizedError(ServiceError, status=401, code="unauthorized", reason="unauthorized"):
    """The route needs a key, and the request has none that is known."""

    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ServiceError, status=403, code="forbidden", reason="unauthorized"):
    """The key is known, but this is not for its holder."""


class NotFoundError(ServiceError, status=404, code="not_found"):
    """No such route."""


class MethodNotAllowedError(ServiceError, status=405, code="method_not_allowed"):
    """The route exists, but not for this method."""


class RequestTimeoutError(ServiceError, status=408, code="request_timeout", reason="canceled"):
    """The body did not arrive in time; what would still come of it is not read."""

    default_headers: ClassVar = {"Connection": "close"}

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"the body did not arrive within {limit_seconds:g} s")


class ConflictError(ServiceError, status=409, code="conflict"):
    """What was asked for does not go with how things are; nothing was changed."""


class ModelRefusedError(ServiceError, status=422, code="model_refused"):
    """A version failed its checks; nothing was changed. The detail is for operators."""


class PayloadTooLargeError(ServiceError, status=413, code="payload_too_large", reason="too_large"):
    """The body is longer than the service reads."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(f"the body is longer than {max_body_bytes} bytes")


class UnsupportedMediaTypeError(ServiceError, status=415, code="unsupported_media_type", reason="validation"):
    """The body is of a type or an encoding the service does not read."""


class OverloadedError(ServiceError, status=429, code="overloaded", reason="rejected"):
    """The queue is full, or there is no room for the body; the request may come back later."""

    def __init__(self, retry_after_seconds: float, why: str = "the queue is full") -> None:
        seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(f"{why}; try again in {seconds} s", headers={"Retry-After": str(seconds)})


class BackendError(ServiceError, status=500, code="backend", reason="backend"):
    """The service failed; the log says why."""

    default_detail = "the request could not be computed"


class WarmingError(ServiceError, status=503, code="warming"):
    """No model is in service at the moment."""

    default_detail = "no model is in service yet"
    default_headers: ClassVar = {"Retry-After": "1"}


class DrainingError(ServiceError, status=503, code="draining", reason="rejected"):
    """The service is about to end; another replica, or this one after its restart, will answer."""

    default_detail = "the service is about to end"
    default_headers: ClassVar = {"Retry-After": "1"}


class UnhealthyError(ServiceError, status=503, code="unhealthy", reason="rejected"):
    """The engine failed and is being rebuilt; another replica, or this one in a while, will answer."""

    default_detail = "the engine failed and is being rebuilt"
    default_headers: ClassVar = {"Retry-After": "5"}


class DeadlineExceededError(ServiceError, status=504, code="deadline_exceeded", reason="deadline"):
    """The answer was not there when the caller stopped waiting for it."""

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
