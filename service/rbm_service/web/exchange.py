"""One HTTP request and its answer: its body, within the bounds of all bodies, and the way out.

With `connection`, this is all that the service knows of uvicorn's insides, and of one version of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

CONNECTION_CLOSE: Final = (b"connection", b"close")

RawHeaders = Sequence[tuple[bytes, bytes]]


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
