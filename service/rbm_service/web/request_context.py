"""The messages of one request and its answer: what is counted and bounded while they pass. Pure ASGI."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from rbm_service.errors import PayloadTooLargeError, RequestTimeoutError
from rbm_service.observability.timings import RequestTrace
from rbm_service.web.api_keys import Headers
from rbm_service.web.connection import DIRECT, Direct, RawHeaders

REQUEST_CONTEXT: Final = "context"  # where it lies in the state of a request
MAX_REQUEST_ID_LENGTH: Final = 128

_random = random.Random()  # an id has to be new, not hard to guess


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long a body may be, and how long it may take to arrive."""

    max_bytes: int
    timeout_seconds: float


class RequestContext:
    """One request, from its headers to the end of its answer.

    Its id is the caller's `X-Request-ID` or made up, and goes back with the answer. Whoever makes it puts it
    in the state of the scope and takes it out again at the end: each holds the other, and what is left to the
    garbage collector costs a short request as much as its node's lookup.
    """

    __slots__ = (
        *("_announced_bytes", "_body_is_complete", "_deadline", "_direct", "_head", "_id_header", "_limits"),
        *("_num_bytes", "_receive_next", "_send_on", "headers", "key_name", "request_id", "status", "work"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: BodyLimits) -> None:
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        self.request_id = (given and _usable_id(given)) or f"{_random.getrandbits(128):032x}"
        self._id_header = (b"x-request-id", self.request_id.encode())
        self.headers = headers
        self.key_name: str | None = None
        self.status = 0  # nothing sent yet
        self.work: RequestTrace | None = None  # for its trace, where there are traces
        announced = headers.get(b"content-length", b"")
        self._announced_bytes = int(announced) if announced.isdigit() else 0
        self._limits = limits
        self._deadline: float | None = None  # from when the body is waited for
        self._direct: Direct | None = scope.get("extensions", {}).pop(DIRECT, None)
        self._receive_next = receive
        self._send_on = send
        self._head: Message | None = None
        self._body_is_complete = False
        self._num_bytes = 0

    async def body(self) -> bytes:
        """All of the body; short ones have arrived already, as a rule.

        Raises:
            ClientDisconnect: the client has gone before the end of it.
            PayloadTooLargeError, RequestTimeoutError: it is too long, or takes too long.
        """
        if self._direct is not None and (whole := self._direct.body()) is not None:
            self._take(whole)
            self._body_is_complete = True
            return whole
        chunks = []
        while not self._body_is_complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
        return b"".join(chunks)

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this as soon as it is known that nobody waits for the answer any more; only a server that
        offers `direct` knows."""
        if self._direct is not None:
            self._direct.watch(on_gone)

    async def receive(self) -> Message:
        """The next message; refuses a body as soon as it is known to be too long, announced or streamed.

        The refusal is raised where the route reads the body, so that it counts as an answer of that route.

        Raises:
            PayloadTooLargeError, RequestTimeoutError: the body is too long, or takes too long.
        """
        self._check_announced()
        if self._body_is_complete:  # what comes now is that the caller hangs up, whenever that is
            return await self._receive_next()
        message = await self._receive_in_time()
        self._take(message.get("body", b""))
        self._body_is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on, the first with the id of the request, and together with its body if there is no
        more to come."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        if (head := self._head) is not None:
            self._head = None
            is_all = not message.get("more_body", False)
            if is_all and self.answer(head["status"], head["headers"], message.get("body", b"")):
                return
            self.status = head["status"]
            await self._send_on({**head, "headers": [*head["headers"], self._id_header]})
        await self._send_on(message)

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send a whole answer at once, or do nothing if it has to be sent by messages: then False."""
        if self._direct is None or not self._direct.answer(status, [*headers, self._id_header], body):
            return False
        self.status = status
        return True

    def _check_announced(self) -> None:
        if self._announced_bytes > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)

    def _take(self, chunk: bytes) -> None:
        self._num_bytes += len(chunk)
        if self._num_bytes > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)

    async def _receive_in_time(self) -> Message:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._limits.timeout_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive_next()
        except TimeoutError:
            raise RequestTimeoutError(self._limits.timeout_seconds) from None


def context_of(scope: Scope) -> RequestContext:
    """The context of a request."""
    context: RequestContext = scope["state"][REQUEST_CONTEXT]
    return context


def _usable_id(value: bytes) -> str | None:
    given = value.decode("latin-1")
    usable = len(given) <= MAX_REQUEST_ID_LENGTH and given.isascii() and given.isprintable()
    return given if usable else None
