"""One request and its answer as routes meet them: an id, a key, a body bounded in length and in time."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from rbm_service.errors import OverloadedError, PayloadTooLargeError, RequestTimeoutError
from rbm_service.observability.timings import RequestTrace
from rbm_service.web.api_keys import Headers
from rbm_service.web.body_limits import BodyLimits
from rbm_service.web.compression import encoding_of, expand
from rbm_service.web.connection import Exchange, RawHeaders

REQUEST_CONTEXT: Final = "context"  # where it lies in the state of a request
MAX_REQUEST_ID_LENGTH: Final = 128

_random = random.Random()  # an id has to be new, not hard to guess


class RequestContext:
    """One request, from its headers to the end of its answer.

    Its id is the caller's `X-Request-ID` or made up, and goes back with the answer. Whoever makes a context
    puts it in the state of the scope and takes it out at the end: each holds the other, and what is left to
    the garbage collector costs a short request as much as its node's lookup.
    """

    __slots__ = (
        *("_announced_bytes", "_answers_whole", "_body_is_complete", "_deadline", "_exchange", "_head"),
        *("_id_header", "_limits", "_num_bytes", "_receive_next", "_send_on"),
        *("headers", "key_name", "path", "request_id", "status", "work"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: BodyLimits) -> None:
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        self.request_id = (given and _usable_id(given)) or f"{_random.getrandbits(128):032x}"
        self._id_header = (b"x-request-id", self.request_id.encode())
        self.headers = headers
        self.path = ""  # without the prefix under which a proxy offers the service
        self.key_name: str | None = None
        self.status = 0  # nothing sent yet
        self.work: RequestTrace | None = None  # for its trace, where there are traces
        announced = headers.get(b"content-length", b"")
        self._announced_bytes = int(announced[:19]) if announced.isdigit() else 0  # longer: as much too long
        self._limits = limits
        self._deadline: float | None = None  # from when the body is waited for
        server = getattr(receive, "__self__", None)
        self._exchange = server if isinstance(server, Exchange) else None
        # Whoever stands between the server and this sees every message of the answer.
        self._answers_whole = getattr(send, "__self__", None) is server
        self._receive_next = receive
        self._send_on = send
        self._head: Message | None = None
        self._body_is_complete = False
        self._num_bytes = 0

    async def body(self) -> bytes:
        """Return all of the body; short ones have arrived already, as a rule.

        Raises:
            ClientDisconnect: the client has gone before the end of it.
            PayloadTooLargeError, OverloadedError, RequestTimeoutError: as `receive`.
        """
        if self._exchange is not None and (whole := self._exchange.whole_body()) is not None:
            self._take(len(whole))
            self._body_is_complete = True
            return whole
        chunks = []
        while not self._body_is_complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
        return b"".join(chunks)

    async def expand(self, body: bytes) -> bytes:
        """Return a body without its `Content-Encoding`; both forms count as held.

        Raises:
            UnsupportedMediaTypeError, InvalidRequestError: of another encoding, or damaged.
            PayloadTooLargeError, OverloadedError: it would be too long, or there is no room for it.
        """
        encoding = encoding_of(self.headers.get(b"content-encoding", b""))
        if encoding is None:
            return body
        expanded = await asyncio.to_thread(expand, body, encoding, self._limits.max_bytes)
        if self._exchange is not None:
            self._exchange.hold(len(expanded))
            self._take(0)
        return expanded

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this as soon as nobody waits for the answer any more; only the service's own server knows."""
        if self._exchange is not None:
            self._exchange.watch(on_gone)

    async def receive(self) -> Message:
        """Return the next message; a body is refused as soon as it is known to be too much.

        The refusal is raised where the route reads the body, so that it counts as an answer of that route.

        Raises:
            PayloadTooLargeError: the body is too long, as announced or as it arrives.
            OverloadedError: there is no room for it beside those of other requests.
            RequestTimeoutError: it takes too long.
        """
        if self._body_is_complete:  # what comes now is that the caller hangs up, whenever that is
            return await self._receive_next()
        self._take(0)
        message = await self._receive_in_time()
        if message["type"] == "http.request":
            self._take(len(message.get("body", b"")))
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
        if self._exchange is None or not self._answers_whole:
            return False
        if not self._exchange.answer(status, [*headers, self._id_header], body):
            return False
        self.status = status
        return True

    def close(self) -> None:
        """Give back what a body still holds: its caller has gone without an answer."""
        if self._exchange is not None and self._exchange.num_held:
            self._exchange.release()

    def _take(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if max(self._num_bytes, self._announced_bytes) > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)
        if self._exchange is not None and self._exchange.drops_body:
            raise OverloadedError(1, "too many bytes of other requests are held")

    async def _receive_in_time(self) -> Message:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._limits.timeout_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive_next()
        except TimeoutError:
            raise RequestTimeoutError(self._limits.timeout_seconds) from None


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"][REQUEST_CONTEXT]
    return context


def _usable_id(value: bytes) -> str | None:
    given = value.decode("latin-1")
    usable = len(given) <= MAX_REQUEST_ID_LENGTH and given.isascii() and given.isprintable()
    return given if usable else None
