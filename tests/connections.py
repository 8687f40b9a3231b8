"""Connections to an application through the service's own protocol, without a socket."""

import asyncio
from collections.abc import Iterable
from functools import partial

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from rbm_service.web.connection import Connection
from rbm_service.web.limits import BodyLimits


class Transport(asyncio.Transport):
    """Remembers what was written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_read = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


class InMemoryConnection:
    """What a caller sends arrives at once; belongs to one event loop."""

    def __init__(
        self,
        app: ASGIApp,
        default_headers: Iterable[tuple[bytes, bytes]] = (),
        body_limits: BodyLimits | None = None,
    ) -> None:
        protocol = partial(Connection, 60, body_limits or BodyLimits())
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None)
        config.load()
        self._state = ServerState()
        self._state.default_headers = list(default_headers)
        self.transport = Transport()
        self.protocol: Connection = config.http_protocol_class(config, self._state, {})
        self.protocol.connection_made(self.transport)

    def receive(self, data: bytes) -> None:
        """Take in what has arrived."""
        self.protocol.data_received(data)

    @property
    def statuses(self) -> list[bytes]:
        """Of the answers so far."""
        return [part[:3] for part in b"".join(self.transport.written).split(b"HTTP/1.1 ")[1:]]

    async def answered(self) -> None:
        """Until nothing is being answered."""
        while self._state.tasks:
            await asyncio.sleep(0.001)
