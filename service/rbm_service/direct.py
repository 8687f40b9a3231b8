"""A request whose body has arrived and whose answer is known, each in one piece, past the messages of ASGI.

Most requests are like that. For them, uvicorn's way from message to message is a good part of what they cost:
a body waits for an event that has happened, head and body of an answer are two messages, two packets and two
calls of the system. What is out of the ordinary goes that way still.

The server offers this as an extension of ASGI, under `DIRECT` in `scope["extensions"]`.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

DIRECT: Final = "rbm.direct"
CONNECTION_CLOSE: Final = (b"connection", b"close")

RawHeaders = Sequence[tuple[bytes, bytes]]


class Connection(Protocol):
    """The connection that a request came by."""

    server_state: ServerState
    on_gone: Callable[[], object] | None  # called when the caller goes before the request is answered


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
