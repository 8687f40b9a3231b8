"""uvicorn's HTTP protocol, whose patience has an end.

uvicorn ends a connection that lies idle between two requests, and waits for ever within one. So a caller who
never ends its headers, or goes on with a body that was refused long ago, would keep its connection for good.
Here such a connection is closed in time. For a body that a route still waits for, the middleware keeps the
time, and answers. What has arrived and what is known in one piece goes past uvicorn's messages (`direct`).
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEADER_BYTES: Final = 64 * 1024


class Connection(HttpToolsProtocol):
    """One connection. At most one timer runs: for the headers that come next, or for the rest of a body."""

    header_seconds: ClassVar[float]
    rest_seconds: ClassVar[float]

    _timer: TimerHandle | None = None
    _num_header_bytes: int | None = None  # None unless headers are being read
    _num_requests = 0  # whose headers are read
    on_gone: Callable[[], object] | None = None  # whom the request that is being answered wants to know

    @classmethod
    def within(cls, header_seconds: float, rest_seconds: float) -> type["Connection"]:
        """A class with these limits, for uvicorn makes protocols by itself.

        Args:
            header_seconds: for the headers of a request.
            rest_seconds: for what is left of a body when its request has been answered.
        """
        return type(cls.__name__, (cls,), {"header_seconds": header_seconds, "rest_seconds": rest_seconds})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first headers."""
        super().connection_made(transport)
        self._start(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop()
        super().connection_lost(exc)
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived; the first byte after a pause begins the next request."""
        was_idle, num_requests = self.timeout_keep_alive_task is not None, self._num_requests
        super().data_received(data)
        if self._num_header_bytes is not None and not self.transport.is_closing():
            self._start(self.header_seconds)
            self._num_header_bytes += len(data)
            if self._num_header_bytes > MAX_HEADER_BYTES:
                self.send_400_response("The headers are too long.")
        elif was_idle and self._num_requests == num_requests:
            self._start(self.header_seconds)  # nothing has begun, and uvicorn waits no more

    def on_message_begin(self) -> None:
        """A request begins, be it while the one before it is answered."""
        super().on_message_begin()
        self._num_header_bytes = 0

    def on_headers_complete(self) -> None:
        """The headers are there in time; what answers begins when the loop comes to it."""
        self._num_header_bytes = None
        self._num_requests += 1
        if self._timer is not None:
            self._stop()
        super().on_headers_complete()
        extensions: dict[str, Any] = {DIRECT: Direct(self, self.cycle)}
        self.scope["extensions"] = extensions

    def on_message_complete(self) -> None:
        """All of the request is there; if it was answered before that, the next one is waited for."""
        if self.cycle.response_complete:
            self._stop()
            self._start(self.header_seconds)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; if not all of the body is in by now, nobody reads the rest of it."""
        self.on_gone = None
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._start(self.rest_seconds)

    def _start(self, seconds: float) -> None:
        """Start the timer, unless it runs: whatever arrives meanwhile gains no time."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self.shutdown)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


DIRECT: Final = "rbm.direct"
CONNECTION_CLOSE: Final = (b"connection", b"close")

RawHeaders = Sequence[tuple[bytes, bytes]]


class Direct:
    """One request of uvicorn, and its answer."""

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle

    def body(self) -> bytes | None:
        """All of the body, so that nothing is left to receive; None if some of it is not there yet."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        if cycle.flow.read_paused:  # by a long one: nobody would notice that the caller goes
            cycle.flow.resume_reading()
        return body

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this when the caller goes before it has an answer, or now if it has gone."""
        if self._cycle.disconnected:
            on_gone()
        else:
            self._connection.on_gone = on_gone

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send an answer, if anyone still reads it; False, with nothing sent, if it has to go by messages."""
        cycle = self._cycle
        if cycle.disconnected:
            return True
        headers = [*self._connection.server_state.default_headers, *headers]
        if cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        if (b"content-length", b"%d" % len(body)) not in headers:
            return False
        if CONNECTION_CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append(CONNECTION_CLOSE)
        lines = b"\r\n".join(map(b": ".join, headers))
        if lines.count(b"\n") >= len(headers) or lines.count(b"\r") >= len(headers):
            return False  # a header that is two: refused there
        # From here on, what uvicorn does when the last message of an answer comes.
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        cycle.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[status], lines, body))
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
