"""HTTP connections: all that the service knows of uvicorn's insides, in the version that pyproject.toml pins.

Unlike uvicorn's, they cut off in time who never ends its headers, or goes on with a body that was refused.
(While a route waits for a body, `RequestContext` keeps the time, and answers.) Headers are bounded, trailers
dropped, upgrades ignored as RFC 9110 allows; what cannot be read is refused when all before it is answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from rbm_service.web.body_limits import BodyBudget

MAX_HEADER_BYTES: Final = 64 * 1024
CONNECTION_CLOSE: Final = (b"connection", b"close")
TOO_LONG, INVALID = "The headers are too long.", "Invalid HTTP request received."
DROPPED: Final[Any] = deque(maxlen=0)  # keeps nothing of what is appended

RawHeaders = Sequence[tuple[bytes, bytes]]


class Exchange(RequestResponseCycle):
    """One request and its answer, each in one piece; uvicorn's own methods are the way by messages."""

    budget: BodyBudget
    server_state: ServerState
    on_gone: Callable[[], object] | None = None
    is_announced = False  # the length of the body
    num_held = 0  # bytes that the budget counts for it
    drops_body = False  # as there is no room for it, or nobody reads it any more

    def whole_body(self) -> bytes | None:
        """Return all of the body, so that nothing is left to receive; None if it is not all there."""
        if self.more_body or self.disconnected:
            return None
        body, self.body = bytes(self.body), bytearray()
        self.flow.resume_reading()  # paused by a long one: nobody would notice that the caller goes
        return body

    def hold(self, num_bytes: int) -> None:
        """Count more bytes of the body, or drop it where there is no room for them."""
        if (
            self.budget.num_bytes + num_bytes > self.budget.max_bytes
            and self.budget.num_bytes > self.num_held
        ):
            self.release()
            self.message_event.set()
        else:
            self.budget.num_bytes += num_bytes
            self.num_held += num_bytes

    def release(self) -> None:
        """Keep nothing of the body any more, whatever still arrives of it."""
        self.budget.num_bytes -= self.num_held
        self.num_held, self.drops_body, self.body, self.on_gone = 0, True, bytearray(), None

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this when the caller goes before it has an answer, or now if it has gone."""
        self.on_gone = on_gone
        if self.disconnected:
            on_gone()

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


class Connection(HttpToolsProtocol):
    """One connection. At most one timer runs: for the headers that come next, or for the rest of a body."""

    header_seconds: ClassVar[float]
    rest_seconds: ClassVar[float]
    body_budget: ClassVar[BodyBudget]
    cycle: Exchange  # of the request that was begun last
    _timer: asyncio.TimerHandle | None = None
    _refusal: str | None = None  # of what cannot be read, once all before it is answered
    _in_headers = _in_body = False
    _num_arriving = 0  # bytes that are being read now
    _num_header_bytes = 0  # at least; trailers count too, -1 between two requests
    _num_unsure_bytes = 0  # read together with the end of the request before
    _head_without_upgrade = b""

    @classmethod
    def within(cls, header_seconds: float, rest_seconds: float, budget: BodyBudget) -> type["Connection"]:
        """Return a class with limits for headers, for the rest of an answered body, and for all bodies."""
        limits = {"header_seconds": header_seconds, "rest_seconds": rest_seconds, "body_budget": budget}
        return type(cls.__name__, (cls,), limits)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first headers."""
        super().connection_made(transport)
        self._unanswered: deque[Exchange] = deque()  # in the order of the requests
        self._start(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more; a request that nobody has begun to answer is over."""
        self._stop()
        super().connection_lost(exc)
        for exchange in self._unanswered:
            exchange.lose_caller()
        for exchange in list(self._unanswered)[1:]:  # the first keeps its body until its route has ended
            exchange.release()
        self._unanswered.clear()

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived; the first byte after a pause begins the next request."""
        if self._refusal is not None:
            return
        was_idle, last = self.timeout_keep_alive_task is not None, self.cycle
        self._unset_keepalive_if_required()
        self._num_arriving = len(data)
        self._num_header_bytes = max(self._num_header_bytes, 0) + len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or INVALID)
            return
        if self._num_header_bytes > MAX_HEADER_BYTES:
            self._refuse(TOO_LONG)
        elif self._in_headers or (was_idle and self.cycle is last):  # uvicorn waits no more
            self._start(self.header_seconds)

    def on_message_begin(self) -> None:
        """Count the bytes of headers that begin, be it while the request before is answered."""
        super().on_message_begin()
        self._in_headers = True
        is_first = self._num_header_bytes == self._num_arriving  # of what is being read
        self._num_unsure_bytes = 0 if is_first else self._num_arriving
        self._num_header_bytes = self._num_arriving if is_first else 0

    def on_headers_complete(self) -> None:
        """Begin an exchange; what answers begins when the loop comes to it."""
        if self._num_header_bytes + self._num_unsure_bytes > MAX_HEADER_BYTES < len(self._head()):
            self._refusal = TOO_LONG
            raise ValueError(TOO_LONG)  # which ends the parser
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._head_without_upgrade = self._head(without=b"upgrade")
            return
        super().on_headers_complete()
        self._stop()
        self._in_headers, self._in_body, self._num_header_bytes = False, True, 0
        self.headers = DROPPED  # for trailers
        exchange = self.cycle
        exchange.__class__ = Exchange  # which adds methods to what uvicorn has made
        exchange.budget, exchange.server_state = self.body_budget, self.server_state
        self._unanswered.append(exchange)
        if num_announced := int(dict(exchange.scope["headers"]).get(b"content-length", 0)):
            exchange.is_announced = True
            exchange.hold(min(num_announced, self.body_budget.max_body_bytes))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body in, unless there is no room or no need for it."""
        self._num_header_bytes = 0
        exchange = self.cycle
        if not exchange.is_announced and not exchange.drops_body:
            exchange.hold(len(body))
        if not exchange.drops_body:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of the request is there; if it was answered before that, the next one is waited for."""
        if self.parser.should_upgrade():
            return
        self._in_body = False
        self._num_header_bytes = -1
        if self.cycle.response_complete:
            self._stop()
            self._start(self.header_seconds)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; if not all of the body is in by now, nobody reads the rest of it."""
        exchange = self._unanswered.popleft()
        exchange.release()
        super().on_response_complete()
        if self._refusal is not None and not self._unanswered and not self.transport.is_closing():
            self.send_400_response(self._refusal)
        elif exchange.more_body:
            self._start(self.rest_seconds)

    def _feed(self, data: bytes | memoryview) -> None:
        """Parse; where an upgrade is offered, parse the headers again without it, and go on behind them."""
        while True:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = memoryview(data)[upgrade.args[0] :]
            self.parser.feed_data(self._head_without_upgrade)

    def _head(self, without: bytes = b"") -> bytes:
        """Return the request line and the headers as they came, but for one."""
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != without]
        version = self.parser.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(lines))

    def _refuse(self, message: str) -> None:
        """Answer 400 and close, as soon as all requests before this one have their answers."""
        self._stop()
        self._refusal = message
        self.logger.warning(message)
        if self._in_body and not self.cycle.response_complete:  # it never will be all there
            self._unanswered.pop().lose_caller()
            if self.pipeline:
                self.pipeline.popleft()
                self.cycle.release()
        if not self._unanswered and not self.transport.is_closing():
            self.send_400_response(message)

    def _start(self, seconds: float) -> None:
        """Start the timer, unless it runs: whatever arrives meanwhile gains no time."""
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self.shutdown)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
