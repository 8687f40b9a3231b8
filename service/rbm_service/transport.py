"""A transport that sends an answer at one go.

uvicorn writes the head of an answer, then its body, and each write goes to the system at once: two packets,
and twice the price of waking up whoever waits for them. For a small answer that is a good part of its cost.
"""

import asyncio
from typing import Any, Final

HEAD: Final = b"HTTP/1.1 "
INTERIM_HEAD: Final = b"HTTP/1.1 1"  # the caller waits for it before it goes on


class OneGo:
    """Passes everything on to a transport, but keeps the head of an answer until its body comes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a transport has
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, with the head that was kept; or keep, if it is a head."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif data.startswith(HEAD) and not data.startswith(INTERIM_HEAD):
            self._head = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        """Send what is left, and close."""
        self.flush()
        self._transport.close()
