"""HTTP connections: requests are read with httptools, bounded in bytes and time, and answered in order.

They take the place of uvicorn's own, which would wait for ever for who never ends its headers, or goes on
with a body that was refused. (While a route waits for a body, `RequestContext` keeps the time, and answers.)
Headers are bounded, trailers dropped, upgrades ignored as RFC 9110 allows; what cannot be read is refused
when all before it is answered.
"""

import asyncio
import urllib.parse
from collections import deque
from functools import lru_cache
from typing import Any, Final

import httptools
import structlog
from uvicorn import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from rbm_service.web.limits import MAX_HEADER_BYTES, REFUSAL, TOO_LONG, BodyLimits, Trailers, head_of_request
from rbm_service.web.request_context import Exchange
from rbm_service.web.timed_connection import NEVER, TimedConnection

INVALID: Final = "Invalid HTTP request received."
ASGI_VERSION: Final = {"version": "3.0", "spec_version": "2.3"}

log = structlog.get_logger(__name__)


@lru_cache(maxsize=64)  # nearly all requests are for the same few
def _split_url(url: bytes) -> tuple[str, bytes, bytes]:
    """Return the path, decoded and as it came, and the query."""
    parts = httptools.parse_url(url)
    path: str = parts.path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, parts.path, parts.query or b""


class Connection(TimedConnection):
    """One connection: its requests, as they arrive, and whose turn it is to be answered."""

    def __init__(
        self,
        header_seconds: float,
        body_limits: BodyLimits,
        config: Config,
        server_state: ServerState,
        app_state: object = None,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(server_state, _loop or asyncio.get_running_loop())
        self.body_limits = body_limits
        self.exchange: Exchange | None = None  # of the last request whose headers are read
        self._app = config.loaded_app
        self._header_seconds = header_seconds
        self._idle_seconds = config.timeout_keep_alive
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # what comes last has an answer
        self._url, self._head_without_upgrade = b"", b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._unanswered: deque[Exchange] = deque()  # in the order of the requests; only the first has begun
        self._refusal: str | None = None  # of what cannot be read, once all before it is answered
        self._in_headers = self._in_body = False
        self._num_arriving = 0  # bytes that are being read now
        self._num_header_bytes = 0  # at least; trailers count too, -1 between two requests
        self._num_unsure_bytes = 0  # read together with the end of the request before

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first headers."""
        super().connection_made(transport)
        self._server, self._client = get_local_addr(transport), get_remote_addr(transport)
        self.start(self._header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more; a request that nobody has begun to answer is over."""
        super().connection_lost(exc)
        for exchange in self._unanswered:
            exchange.lose_caller()
            if not exchange.has_begun:  # or it keeps its body until its route has ended
                exchange.release()
        self._unanswered.clear()
        self.exchange = self._parser = None  # each holds the connection, as it does them

    def shutdown(self) -> None:
        """Close, as soon as what was asked has its answers."""
        if self._unanswered:
            self._unanswered[-1].keep_alive = False
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived; the first byte after a pause begins the next request."""
        if self._refusal is not None:
            return
        was_idle, last = self.is_idle, self.exchange
        if was_idle:
            self.is_idle, self.deadline = False, NEVER
        self._num_arriving = len(data)
        self._num_header_bytes = max(self._num_header_bytes, 0) + self._num_arriving
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._refuse(TOO_LONG if isinstance(error.__context__, OverflowError) else INVALID)
            return
        if self._num_header_bytes > MAX_HEADER_BYTES:
            self._refuse(TOO_LONG)
        elif self._in_headers or (was_idle and self.exchange is last):
            self.start(self._header_seconds)

    def _parse(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:  # is not made: go on, as if it was not offered
                data = memoryview(data)[upgrade.args[0] :]
                self._parser.feed_data(self._head_without_upgrade)

    def on_message_begin(self) -> None:
        """Count the bytes of headers that begin, be it while the request before is answered."""
        self._url, self._headers, self._in_headers = b"", [], True
        is_first = self._num_header_bytes == self._num_arriving  # of what is being read
        self._num_unsure_bytes = 0 if is_first else self._num_arriving
        self._num_header_bytes = self._num_arriving if is_first else 0

    def on_url(self, url: bytes) -> None:
        """Take in a part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header, or count a trailer."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin an exchange, or let it wait for those before it."""
        parser, limits = self._parser, self.body_limits
        may_be_long = self._num_header_bytes + self._num_unsure_bytes > MAX_HEADER_BYTES
        if may_be_long and len(head_of_request(parser, self._url, self._headers)) > MAX_HEADER_BYTES:
            raise OverflowError(TOO_LONG)  # which ends the parser
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise ValueError("expected a request, got a tunnel")  # which ends the parser, too
            self._head_without_upgrade = head_of_request(parser, self._url, self._headers, without=b"upgrade")
            return
        keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        exchange = self.exchange = Exchange(self, self._scope(), keep_alive)
        self._headers = Trailers()
        self._in_headers, self._in_body, self._num_header_bytes = False, True, 0
        self.deadline = NEVER
        may_be_full = limits.num_held + limits.max_bytes > limits.max_bytes_of_all
        if may_be_full and (length := exchange.headers.get(b"content-length")):
            exchange.hold(0, int(length))
        self._unanswered.append(exchange)
        if len(self._unanswered) == 1:
            self._begin(exchange)
        else:
            self.pause_reading()

    def _scope(self) -> dict[str, Any]:
        """Return what ASGI says of a request whose headers are there."""
        path, raw_path, query = _split_url(self._url)
        return {
            "type": "http",
            "asgi": ASGI_VERSION,
            "http_version": self._parser.get_http_version(),
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
        }

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body, unless there is no room or no need for it."""
        self._num_header_bytes = 0
        exchange = self.exchange
        if exchange is not None and not exchange.drops_body:
            exchange.take(body)

    def on_message_complete(self) -> None:
        """All of the request is there; if it was answered before that, the next one is waited for."""
        exchange = self.exchange
        if self._parser.should_upgrade() or exchange is None:
            return
        self._in_body = False
        self._num_header_bytes = -1
        exchange.more_body = False
        if exchange.response_complete:
            self.deadline = NEVER
            self.start(self._header_seconds)
        elif exchange.event is not None:
            exchange.event.set()

    def end(self, exchange: Exchange) -> None:
        """Go on behind an answer; if not all of the body is in by now, nobody reads the rest of it."""
        self._unanswered.popleft()
        exchange.release()
        if exchange.event is not None:
            exchange.event.set()
        if not exchange.keep_alive:
            self.transport.close()
        if not self.transport.is_closing():
            self.resume_reading()
            self._go_on(exchange)

    def _go_on(self, answered: Exchange) -> None:
        """Begin what comes next: another request, the rest of a body, or a pause."""
        if self._unanswered:
            self._begin(self._unanswered[0])
        elif self._refusal is not None:
            self._answer_refusal()
        elif answered.more_body:
            self.start(self.body_limits.timeout_seconds)
        elif not self._in_headers:
            self.is_idle, self.deadline = True, self.loop.time() + self._idle_seconds
            if self.deadline < self.timer_at:
                self.set_timer()

    def _begin(self, exchange: Exchange) -> None:
        exchange.has_begun = True
        task = self.loop.create_task(exchange.run_asgi(self._app), name="request")
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def _refuse(self, message: str) -> None:
        """Answer 400 and close, as soon as all requests before this one have their answers."""
        self.deadline = NEVER
        self._refusal = message
        log.warning(message)
        if self._in_body and self.exchange in self._unanswered:  # it never will be all there
            exchange = self._unanswered.pop()
            exchange.lose_caller()
            if not exchange.has_begun:
                exchange.release()
        if not self._unanswered:
            self._answer_refusal()

    def _answer_refusal(self) -> None:
        if not self.transport.is_closing():
            added = map(b"%b: %b\r\n".__mod__, self.server_state.default_headers)
            text = (self._refusal or INVALID).encode()
            self.transport.write(REFUSAL % (b"".join(added), len(text), text))
            self.transport.close()
