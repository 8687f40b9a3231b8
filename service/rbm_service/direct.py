"""A request whose body has arrived and whose answer is known, each in one piece, past the messages of ASGI.

Most requests are like that. For them, uvicorn's way from message to message is a good part of what they cost:
a body waits for an event that has happened, head and body of an answer are two messages, two packets and two
calls of the system. What is out of the ordinary goes that way still.

The server offers this as an extension of ASGI, under `DIRECT` in `scope["extensions"]`.
"""

from collections.abc import Sequence
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

DIRECT: Final = "rbm.direct"
CONNECTION_CLOSE: Final = (b"connection", b"close")

RawHeaders = Sequence[tuple[bytes, bytes]]


class Direct:
    """One request of uvicorn, and its answer."""

    __slots__ = ("_cycle", "_server_state")

    def __init__(self, cycle: RequestResponseCycle, server_state: ServerState) -> None:
        self._cycle = cycle
        self._server_state = server_state

    def body(self) -> bytes | None:
        """All of the body, so that nothing is left to receive but that the caller goes; None if some of it is
        not there yet."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        cycle.flow.resume_reading()  # after a long one: or nobody would notice that the caller goes
        return body

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send an answer, if anyone still reads it; False, with nothing sent, if it has to go by messages."""
        cycle = self._cycle
        if cycle.disconnected:
            return True
        headers = [*self._server_state.default_headers, *headers]
        if cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        if (b"content-length", b"%d" % len(body)) not in headers:
            return False
        if CONNECTION_CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append(CONNECTION_CLOSE)
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
            return False  # a header that is two: refused there
        self._send(b"%b%b\r\n%b" % (STATUS_LINE[status], lines, body))
        return True

    def _send(self, answer: bytes) -> None:
        """What uvicorn does when the last message of an answer comes."""
        cycle = self._cycle
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        cycle.transport.write(answer)
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
