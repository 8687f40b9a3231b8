"""Requests at a constant rate, whether or not the answers keep up: a server that stalls cannot hide it.

A request's latency counts from the moment it was due, not from the moment a connection was free to send it.
"""

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httptools
import uvloop

from tests.load.wrk import Contender

CONNECTIONS: Final = 64
TICK_SECONDS: Final = 0.001
PATIENCE_SECONDS: Final = 10.0


@dataclass(slots=True)
class Minute:
    """What became of the requests due in one minute: latencies of those answered 200, and the rest."""

    seconds: array = field(default_factory=lambda: array("f"))
    num_failed: int = 0

    def percentile(self, share: float) -> float:
        """The latency in seconds that this share of the answers did not exceed."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


def send(
    contender: Contender, per_second: float, minutes: int, on_minute: Callable[[], None]
) -> list[Minute]:
    """Send for so many minutes; `on_minute` is called at the end of each."""
    return uvloop.run(_Sender(contender, per_second, minutes, on_minute).run())


class _Sender:
    def __init__(
        self, contender: Contender, per_second: float, minutes: int, on_minute: Callable[[], None]
    ) -> None:
        self._contender = contender
        self._per_second = per_second
        self._on_minute = on_minute
        self._minutes = [Minute() for _ in range(minutes)]
        self._due: deque[float] = deque()  # by the time since the start
        self._idle: deque[_Connection] = deque()  # in turn: the server ends those that lie idle
        self._start = 0.0

    async def run(self) -> list[Minute]:
        connections = [await self._connect() for _ in range(CONNECTIONS)]
        self._idle.extend(connections)
        self._start = time.perf_counter()
        num_due = 0
        for number, _ in enumerate(self._minutes, start=1):
            while (now := self._now()) < 60 * number:
                wanted = int(now * self._per_second)
                self._due.extend(count / self._per_second for count in range(num_due, wanted))
                num_due = wanted
                self._send_due()
                await asyncio.sleep(TICK_SECONDS)
            self._on_minute()
        await self._settle()
        for connection in connections:
            connection.close()
        return self._minutes

    def answered(self, connection: "_Connection", due: float, status: int) -> None:
        minute = self._minutes[min(int(due // 60), len(self._minutes) - 1)]
        if status == 200:
            minute.seconds.append(self._now() - due)
        else:
            minute.num_failed += 1
        self._idle.append(connection)
        self._send_due()

    async def _connect(self) -> "_Connection":
        parts = urlsplit(self._contender.server.url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self, _as_bytes(self._contender, parts.netloc)), parts.hostname, parts.port
        )
        return connection

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._idle.popleft().send(self._due.popleft())

    async def _settle(self) -> None:
        """Wait for what is under way; what has no answer then has failed."""
        end = time.perf_counter() + PATIENCE_SECONDS
        while len(self._idle) < CONNECTIONS and time.perf_counter() < end:
            await asyncio.sleep(TICK_SECONDS)
        self._minutes[-1].num_failed += CONNECTIONS - len(self._idle) + len(self._due)

    def _now(self) -> float:
        return time.perf_counter() - self._start


class _Connection(asyncio.Protocol):
    """One request at a time; a connection that the server closes takes no more of them."""

    def __init__(self, sender: _Sender, request: bytes) -> None:
        self._sender = sender
        self._request = request
        self._due = 0.0
        self._is_complete = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def send(self, due: float) -> None:
        self._due, self._is_complete = due, False
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._is_complete:  # here, since the next request takes another parser
            self._sender.answered(self, self._due, self._parser.get_status_code())

    def on_message_complete(self) -> None:
        self._is_complete = True

    def close(self) -> None:
        self._transport.close()


def _as_bytes(contender: Contender, host: str) -> bytes:
    request = contender.request
    headers = {"Host": host, "Content-Length": str(len(request.body)), **request.headers}
    lines = [f"POST {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body
