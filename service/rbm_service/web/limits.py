"""What bounds a request: its headers, the trailers behind its body, and the body itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_HEADER_BYTES: Final = 64 * 1024
TOO_LONG: Final = "The headers are too long."
REFUSAL: Final = (
    b"HTTP/1.1 400 Bad Request\r\n%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b"
)

RawBody = bytes | bytearray
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


class Trailers(list[tuple[bytes, bytes]]):
    """Takes the place of a list of headers, keeps none of them, and has an end."""

    num_bytes = 0

    def append(self, trailer: tuple[bytes, bytes]) -> None:
        """Count one more."""
        self.num_bytes += sum(map(len, trailer)) + len(": \r\n")
        if self.num_bytes > MAX_HEADER_BYTES:
            raise OverflowError(TOO_LONG)


def expects_continue(headers: RawHeaders) -> bool:
    """Return whether a caller waits to be told before it sends the body."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def head_of_request(parser: Any, url: bytes, headers: RawHeaders, without: bytes = b"") -> bytes:  # noqa: ANN401
    """Return the first lines of a request as they came, but for one header; of the parser that read them."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != without]
    version = parser.get_http_version().encode()
    return b"%b %b HTTP/%b\r\n%b\r\n" % (parser.get_method(), url, version, b"".join(lines))
