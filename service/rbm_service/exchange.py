"""The messages of one request and its answer: what is counted and bounded while they pass. Pure ASGI."""

import asyncio
import random
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from types import coroutine
from typing import Any, Final

from starlette.types import Message, Receive, Send

from rbm_service.errors import PayloadTooLargeError, RequestTimeoutError
from rbm_service.keys import Headers

MAX_REQUEST_ID_LENGTH: Final = 128

Steps = Generator[Any, Any, Message]

_random = random.Random()  # an id has to be new, not hard to guess


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long a body may be, and how long it may take to arrive."""

    max_bytes: int
    timeout_seconds: float


class Exchange:
    """One request, from its headers to the end of its answer.

    Its id is the caller's `X-Request-ID` or made up, and goes back with the answer.
    """

    __slots__ = (
        *("_announced_bytes", "_body_is_complete", "_deadline", "_limits", "_num_bytes"),
        *("_receive_next", "_send_on", "key_name", "request_id", "status"),
    )

    def __init__(self, headers: Headers, receive: Receive, send: Send, limits: BodyLimits) -> None:
        self.request_id = _usable_id(headers.get(b"x-request-id")) or f"{_random.getrandbits(128):032x}"
        self.key_name: str | None = None
        self.status = 0  # nothing sent yet
        announced = headers.get(b"content-length", b"")
        self._announced_bytes = int(announced) if announced.isdigit() else 0
        self._limits = limits
        self._deadline = asyncio.get_running_loop().time() + limits.timeout_seconds
        self._receive_next = receive
        self._send_on = send
        self._body_is_complete = False
        self._num_bytes = 0

    async def receive(self) -> Message:
        """The next message; refuses a body as soon as it is known to be too long, announced or streamed.

        The refusal is raised where the route reads the body, so that it counts as an answer of that route.

        Raises:
            PayloadTooLargeError, RequestTimeoutError: the body is too long, or takes too long.
        """
        if self._announced_bytes > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)
        if self._body_is_complete:  # what comes now is that the caller hangs up, whenever that is
            return await self._receive_next()
        steps = self._receive_next().__await__()
        try:
            waits_for = next(steps)
        except StopIteration as done:  # it had arrived, as short bodies have as a rule: no need for a timer
            message: Message = done.value
        else:
            message = await self._receive_in_time(steps, waits_for)
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)
        self._body_is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on, the first with the id of the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
        await self._send_on(message)

    async def _receive_in_time(self, steps: Steps, waits_for: object) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await _go_on(steps, waits_for)
        except TimeoutError:
            raise RequestTimeoutError(self._limits.timeout_seconds) from None


@coroutine
def _go_on(steps: Steps, waits_for: object) -> Steps:
    """The rest of something that was begun by hand and has come to wait."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for those steps
            step = partial(steps.throw, error)
        else:
            step = partial(steps.send, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            message: Message = done.value
            return message


def _usable_id(value: bytes | None) -> str | None:
    if not value:
        return None
    given = value.decode("latin-1")
    usable = len(given) <= MAX_REQUEST_ID_LENGTH and given.isascii() and given.isprintable()
    return given if usable else None
