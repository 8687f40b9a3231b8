"""One request and its answer, as the server holds them and as routes meet them: an id, a key, a bounded body.

With `connection`, this is all that the service knows of uvicorn's insides, of the version that is pinned.
"""

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from rbm_service.errors import OverloadedError, PayloadTooLargeError, RequestTimeoutError
from rbm_service.observability.metrics import RequestTrace
from rbm_service.web.api_keys import Headers
from rbm_service.web.compression import encoding_of, expand

REQUEST_CONTEXT: Final = "context"  # where it lies in the state of a request
CONNECTION_CLOSE: Final = (b"connection", b"close")
USABLE_ID: Final = re.compile(rb"[ -~]{1,128}")

RawHeaders = Sequence[tuple[bytes, bytes]]

_random = random.Random()  # an id has to be new, not hard to guess


@dataclass(slots=True)
class BodyLimits:
    """Bounds each body in length and in time, and the bytes of all bodies in memory together.

    A body that is alone may grow beyond that sum.
    """

    max_bytes: int = 2**63
    timeout_seconds: float = 60.0
    max_bytes_of_all: int = 2**63
    num_held: int = 0  # bytes of all

    @property
    def may_run_out(self) -> bool:
        """Whether one more body, at its longest, would have no room."""
        return self.num_held + self.max_bytes > self.max_bytes_of_all


class Exchange(RequestResponseCycle):
    """One request and its answer, each in one piece; uvicorn's own methods are the way by messages."""

    limits: BodyLimits
    server_state: ServerState
    on_gone: Callable[[], object] | None = None
    num_held = 0  # bytes that are counted for it
    drops_body = False  # as there is no room for it, or nobody reads it any more

    def whole_body(self) -> bytes | None:
        """Return all of the body, so that nothing is left to receive; None if it is not all there."""
        if self.more_body or self.disconnected:
            return None
        body, self.body = bytes(self.body), bytearray()
        self.flow.resume_reading()  # paused by a long one: nobody would notice that the caller goes
        return body

    def hold(self, num_bytes: int, num_announced: int = 0) -> None:
        """Count more bytes of the body, or drop it where there is no room for them and what is announced."""
        limits = self.limits
        num_wanted = limits.num_held + num_bytes + num_announced
        if num_wanted > limits.max_bytes_of_all and limits.num_held > self.num_held:
            self.release()
            self.message_event.set()
        else:
            limits.num_held += num_bytes
            self.num_held += num_bytes

    def release(self) -> None:
        """Keep nothing of the body any more, whatever still arrives of it."""
        self.limits.num_held -= self.num_held
        self.num_held, self.drops_body, self.body, self.on_gone = 0, True, bytearray(), None

    def lose_caller(self) -> None:
        """Tell whoever works on the request that nobody waits for the answer."""
        self.disconnected = True
        self.message_event.set()
        if self.on_gone is not None:
            self.on_gone()

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send an answer, if anyone still reads it; False, with nothing sent, if it has to go by messages."""
        if self.disconnected:
            return True
        headers = [*self.server_state.default_headers, *headers]
        is_whole = (b"content-length", b"%d" % len(body)) in headers and self.scope["method"] != "HEAD"
        if self.response_started or self.flow.write_paused or not is_whole:
            return False
        if CONNECTION_CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CONNECTION_CLOSE)
        lines = b"\r\n".join(map(b": ".join, headers))
        if lines.count(b"\n") >= len(headers) or lines.count(b"\r") >= len(headers):
            return False  # a header that is two: refused there
        # From here on, what uvicorn does when the last message of an answer comes.
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        self.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[status], lines, body))
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


class RequestContext:
    """One request, from its headers to the end of its answer.

    Its id is the caller's `X-Request-ID` or made up, and goes back with the answer. Whoever makes a context
    puts it in the state of the scope and takes it out at the end: each holds the other, and what is left to
    the garbage collector costs a short request as much as its node's lookup.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: BodyLimits) -> None:
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if USABLE_ID.fullmatch(given) else b"%032x" % _random.getrandbits(128)
        self.request_id = request_id.decode()
        self._id_header = (b"x-request-id", request_id)
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
        self.exchange = server if isinstance(server, Exchange) else None
        # Whoever stands between the server and this sees every message of the answer.
        self._answers_whole = self.exchange is not None and getattr(send, "__self__", None) is server
        self._receive_next, self._send_on = receive, send
        self._head: Message | None = None
        self._body_is_complete = False
        self._num_bytes = 0

    async def body(self) -> bytes:
        """Return all of the body; short ones have arrived already, as a rule.

        Raises:
            ClientDisconnect: the client has gone before the end of it.
            PayloadTooLargeError, OverloadedError, RequestTimeoutError: as `receive`.
        """
        if self.exchange is not None and (whole := self.exchange.whole_body()) is not None:
            self._take(len(whole))
            self._body_is_complete = True
            return whole
        return await Request({"type": "http"}, self.receive).body()

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
        if self.exchange is not None:
            self.exchange.hold(len(expanded))
            self._take(0)
        return expanded

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this when the caller goes before it has an answer, or now if it has gone; only the service's
        own server knows."""
        if self.exchange is not None:
            self.exchange.on_gone = on_gone
            if self.exchange.disconnected:
                on_gone()

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
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._limits.timeout_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive_next()
        except TimeoutError:
            raise RequestTimeoutError(self._limits.timeout_seconds) from None
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
        head, self._head = self._head, None
        if head is not None:
            is_all = not message.get("more_body", False)
            if is_all and self.answer(head["status"], head["headers"], message.get("body", b"")):
                return
            self.status = head["status"]
            await self._send_on({**head, "headers": [*head["headers"], self._id_header]})
        await self._send_on(message)

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send a whole answer at once, or do nothing if it has to be sent by messages: then False."""
        whole = self.exchange if self._answers_whole else None
        if whole is None or not whole.answer(status, [*headers, self._id_header], body):
            return False
        self.status = status
        return True

    def _take(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if max(self._num_bytes, self._announced_bytes) > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)
        if self.exchange is not None and self.exchange.drops_body:
            raise OverloadedError(1, "too many bytes of other requests are held")


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"][REQUEST_CONTEXT]
    return context
