"""One request and its answer, as often as it takes, without any input or output.

What is to be done is yielded, and whoever runs the generator sends back what came of it. So the client that
blocks and the one that awaits share all decisions.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from rbm_client.errors import (
    CODES,
    ConnectionFailedError,
    ConnectionLostError,
    InputError,
    OverloadedError,
    StatusError,
    TransportError,
    UnavailableError,
    status_error,
)

T = TypeVar("T")

PASSING: Final = (ConnectionFailedError, ConnectionLostError, OverloadedError, UnavailableError)
"""What may be over when the request comes again."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request. Only one that is `repeatable` is ever sent a second time.

    Attributes:
        timeout_seconds: how long it may take where that is not up to the client's settings.
        codes: what statuses mean where the service says so in no other way.
    """

    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    timeout_seconds: float | None = None
    codes: Mapping[int, str] = field(default_factory=lambda: CODES)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """To be done: send a request, and wait so long for a connection and for each piece of the answer."""

    call: Call
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """To be done: nothing, for so long."""

    seconds: float


Outcome = Answer | TransportError | None
"""What came of a step; of waiting, None."""
Steps = Generator[Send | Wait, Outcome, T]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long a request is tried that the service may answer the next time.

    Waits double from `first_wait_seconds` to `longest_wait_seconds`, less a random share of up to one half,
    and come on top of what `Retry-After` says. No attempt starts later than `deadline_seconds` after the
    first one, and then the service may be silent for no longer than is left.
    """

    max_retries: int = 5
    first_wait_seconds: float = 0.1
    longest_wait_seconds: float = 5.0
    deadline_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not (value := getattr(self, name)) >= 0:
                raise InputError(f"Retries.{name}: found {value}; wanted 0 or more")

    def wait_seconds(self, retry: int, error: TransportError | StatusError) -> float:
        """Return how long to wait before a retry, counted from 0, that follows an error."""
        longest = min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** min(retry, 60))
        asked = error.retry_after_seconds if isinstance(error, StatusError) else None
        return (asked or 0.0) + longest * random.uniform(0.5, 1.0)


def exchange(
    call: Call, retries: Retries, timeout_seconds: float, clock: Callable[[], float]
) -> Steps[Answer]:
    """Send a request until it is answered, or until no retry is left, allowed or in time.

    Raises:
        TransportError, StatusError: of the last attempt.
    """
    deadline, retry = clock() + retries.deadline_seconds, 0
    while True:
        limit = call.timeout_seconds or min(timeout_seconds, max(deadline - clock(), 0.001))
        outcome = yield Send(call, limit)
        if isinstance(outcome, Answer) and outcome.status < 300:
            return outcome
        error = _error_of(call, outcome)
        seconds = retries.wait_seconds(retry, error)
        may_pass = call.repeatable and isinstance(error, PASSING)
        if not may_pass or retry >= retries.max_retries or clock() + seconds > deadline:
            raise error
        yield Wait(seconds)
        retry += 1


def _error_of(call: Call, outcome: Outcome) -> TransportError | StatusError:
    if isinstance(outcome, Answer):
        return status_error(outcome.status, outcome.headers, outcome.content, call.codes)
    assert outcome is not None, "what is sent has an outcome"
    return outcome
