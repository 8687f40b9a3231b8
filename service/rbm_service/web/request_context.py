"""One request and its answer, as the server and as routes have them: an id, a key, a bounded body."""

import asyncio
import logging
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from rbm_service.errors import OverloadedError, PayloadTooLargeError, RequestTimeoutError
from rbm_service.observability.metrics import RequestTrace
from rbm_service.web.api_keys import Headers
from rbm_service.web.limits import BodyLimits, RawBody, RawHeaders, expects_continue

if TYPE_CHECKING:  # which is built on this
    from rbm_service.web.connection import Connection

REQUEST_CONTEXT: Final = "context"  # where it lies in the state of a request
CONNECTION_CLOSE: Final = (b"connection", b"close")
CLOSE_LINE: Final = b": ".join(CONNECTION_CLOSE)
USABLE_ID: Final = re.compile(rb"[ -~]{1,128}")

_random = random.Random()  # an id has to be new, not hard to guess


class Exchange(RequestResponseCycle):
    """One request and its answer, each in one piece; uvicorn's own methods are the way by messages."""

    logger = logging.getLogger("uvicorn.error")
    access_log = has_begun = False  # uvicorn's own log; whether it is being answered
    chunked_encoding: bool | None = None
    expected_content_length = 0

    def __init__(self, connection: "Connection", scope: Scope, keep_alive: bool) -> None:
        self.connection = connection
        self.scope = scope  # type: ignore[assignment]  # the same for uvicorn and Starlette
        self.headers: Headers = dict(scope["headers"])
        self.limits = connection.body_limits
        self.flow = connection
        self.transport = connection.transport
        self.default_headers = connection.server_state.default_headers
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.num_held = 0  # bytes that are counted for it
        self.more_body = True
        self.drops_body = False  # as there is no room for it, or nobody reads it any more
        self.disconnected = self.response_started = self.response_complete = False
        self.waiting_for_100_continue = b"expect" in self.headers and expects_continue(scope["headers"])
        self.on_gone: Callable[[], object] | None = None
        self.event: asyncio.Event | None = None  # most requests need none

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]  # where uvicorn has an attribute
        """Set when there is something to receive: more of the body, its end, or that the caller has gone."""
        if self.event is None:
            self.event = asyncio.Event()
            if self.body or not self.more_body or self.disconnected:
                self.event.set()
        return self.event

    def on_response(self) -> None:
        """Go on behind the answer."""
        self.connection.end(self)

    def take(self, body: bytes) -> None:
        """Take in a part of the body, if there is room for it."""
        self.hold(len(body))
        if not self.drops_body:
            self.body += body
            if len(self.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            if self.event is not None:
                self.event.set()

    def whole_body(self) -> bytes | None:
        """Return all of the body, so that nothing is left to receive; None if it is not all there."""
        if self.more_body or self.disconnected or self.drops_body:
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
        is_whole = (b"content-length", b"%d" % len(body)) in headers and self.scope["method"] != "HEAD"
        if self.response_started or self.flow.write_paused or not is_whole:
            return False
        lines = list(map(b": ".join, (*self.connection.server_state.default_headers, *headers)))
        if CLOSE_LINE in lines:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(CLOSE_LINE)
        text = b"".join(lines)
        if b"\n" in text or b"\r" in text:
            return False  # a header that is two: refused there
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[status], b"\r\n".join(lines), body))
        self.connection.end(self)
        return True


class RequestContext:
    """One request, from its headers to the end of its answer.

    Its id is the caller's `X-Request-ID` or made up, and goes back with the answer. Whoever makes a context
    puts it in the state of the scope and takes it out at the end: each holds the other, and what is left to
    the garbage collector costs a short request as much as its node's lookup.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: BodyLimits) -> None:
        server = getattr(receive, "__self__", None)
        self.exchange = server if isinstance(server, Exchange) else None
        # Whoever stands between the server and this sees every message of the answer.
        self._answers_whole = self.exchange is not None and getattr(send, "__self__", None) is server
        headers = self.exchange.headers if self.exchange is not None else dict(scope["headers"])
        request_id = headers.get(b"x-request-id")
        if request_id is None or not USABLE_ID.fullmatch(request_id):
            request_id = b"%032x" % _random.getrandbits(128)
        self.request_id = request_id.decode()
        self._id_header = (b"x-request-id", request_id)
        self.headers = headers
        self.path = ""  # without the prefix under which a proxy offers the service
        self.key_name: str | None = None
        self.status = 0  # nothing sent yet
        self.work: RequestTrace | None = None  # for its trace, where there are traces
        self.limits = limits
        self._deadline: float | None = None  # from when the body is waited for
        self._receive_next, self._send_on = receive, send
        self._head: Message | None = None
        self._body_is_complete, self._num_bytes = False, 0

    async def body(self) -> RawBody:
        """Return all of the body: short ones have arrived already, as a rule, and long ones are bytearrays,
        which grow in place, for joining their parts would stop the event loop.

        Raises:
            ClientDisconnect: the client has gone before the end of it.
            PayloadTooLargeError, OverloadedError, RequestTimeoutError: as `receive`.
        """
        if self.exchange is not None and (whole := self.exchange.whole_body()) is not None:
            if len(whole) > self.limits.max_bytes:
                raise PayloadTooLargeError(self.limits.max_bytes)
            self._body_is_complete = True
            return whole
        body = bytearray()
        while not self._body_is_complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
        return body

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this when the caller goes before it has its answer; only the service's own server knows."""
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
        announced = self.headers.get(b"content-length", b"")
        self.take(0, int(announced[:19]) if announced.isdigit() else 0)  # if longer: as much too long
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self.limits.timeout_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive_next()
        except TimeoutError:
            raise RequestTimeoutError(self.limits.timeout_seconds) from None
        if message["type"] == "http.request":
            self.take(len(message.get("body", b"")))
            self._body_is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on, the first with the id of the request and, where it can be, with the body."""
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

    def take(self, num_bytes: int, num_announced: int = 0) -> None:
        """Count bytes of the body; raises what `receive` does where they are too many."""
        self._num_bytes += num_bytes
        if max(self._num_bytes, num_announced) > self.limits.max_bytes:
            raise PayloadTooLargeError(self.limits.max_bytes)
        if self.exchange is not None and self.exchange.drops_body:
            raise OverloadedError(1, "too many bytes of other requests are held")


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"][REQUEST_CONTEXT]
    return context
