"""HTTP connections: with `Exchange`, all that the service knows of uvicorn's insides.

Unlike uvicorn's, they cut off in time who never ends its headers, or goes on with a body that was refused.
(While a route waits for a body, `RequestContext` keeps the time, and answers.) Headers are bounded, trailers
dropped, upgrades ignored as RFC 9110 allows; what cannot be read is refused when all before it is answered.
"""

import asyncio
from collections import deque
from typing import ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rbm_service.web.request_context import BodyLimits, Exchange

MAX_HEADER_BYTES: Final = 64 * 1024
TOO_LONG, INVALID = "The headers are too long.", "Invalid HTTP request received."


class Trailers:
    """Takes the place of a list of headers, keeps none of them, and has an end."""

    num_bytes = 0

    def append(self, trailer: tuple[bytes, bytes]) -> None:
        """Count one more."""
        self.num_bytes += sum(map(len, trailer)) + len(": \r\n")
        if self.num_bytes > MAX_HEADER_BYTES:
            raise OverflowError(TOO_LONG)


class Connection(HttpToolsProtocol):
    """One connection. At most one timer runs: for the headers that come next, or for the rest of a body."""

    header_seconds: ClassVar[float]
    body_limits: ClassVar[BodyLimits]
    cycle: Exchange  # of the request that was begun last
    _timer: asyncio.TimerHandle | None = None
    _refusal: str | None = None  # of what cannot be read, once all before it is answered
    _in_headers = _in_body = False
    _num_arriving = 0  # bytes that are being read now
    _num_header_bytes = 0  # at least; trailers count too, -1 between two requests
    _num_unsure_bytes = 0  # read together with the end of the request before
    _head_without_upgrade = b""

    @classmethod
    def within(cls, header_seconds: float, body_limits: BodyLimits) -> type["Connection"]:
        """Return a class with these limits; a body that was answered has the time of a body for its rest."""
        return type(cls.__name__, (cls,), {"header_seconds": header_seconds, "body_limits": body_limits})

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
        rest = memoryview(data)
        try:
            while True:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:  # is not made: go on, as if it was not offered
                    rest = rest[upgrade.args[0] :]
                    self.parser.feed_data(self._head_without_upgrade)
        except httptools.HttpParserError as error:
            self._refuse(TOO_LONG if isinstance(error.__context__, OverflowError) else INVALID)
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
            raise OverflowError(TOO_LONG)  # which ends the parser
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._head_without_upgrade = self._head(without=b"upgrade")
            return
        super().on_headers_complete()
        self._stop()
        self._in_headers, self._in_body, self._num_header_bytes = False, True, 0
        self.headers = Trailers()  # type: ignore[assignment]  # from here on, uvicorn only appends
        exchange = self.cycle
        exchange.__class__ = Exchange  # which adds methods to what uvicorn has made
        exchange.limits, exchange.server_state = self.body_limits, self.server_state
        self._unanswered.append(exchange)
        if exchange.limits.may_run_out and (length := dict(exchange.scope["headers"]).get(b"content-length")):
            exchange.hold(0, int(length))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body in, unless there is no room or no need for it."""
        self._num_header_bytes = 0
        exchange = self.cycle
        if not exchange.drops_body:
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
            self._start(self.body_limits.timeout_seconds)

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
