"""Requests at a constant rate, whether or not the answers keep up: a server that stalls cannot hide it.

A request's latency counts from the moment it was due, not from the moment a connection was free to send it.
"""

import asyncio
import time
from array import array
from collections import Counter, deque
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
MINUTE: Final = 60.0


@dataclass(slots=True)
class Period:
    """What became of the requests due in one period: latencies of those answered 200, the rest by status."""

    seconds: array = field(default_factory=lambda: array("f"))
    refused: Counter = field(default_factory=Counter)  # status 0: no answer at all

    @property
    def num_requests(self) -> int:
        """All of them."""
        return len(self.seconds) + self.refused.total()

    def percentile(self, share: float) -> float:
        """The latency in seconds that this share of the answers did not exceed."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many requests a second, for how many periods of how many seconds, over how many connections."""

    per_second: float
    num_periods: int = 1
    period_seconds: float = MINUTE
    num_connections: int = CONNECTIONS


def send(
    contender: Contender, schedule: Schedule, on_period: Callable[[], None] = lambda: None
) -> list[Period]:
    """Send what is due; `on_period` is called at the end of each period."""
    return uvloop.run(_Sender(contender, schedule, on_period).run())


class _Sender:
    def __init__(self, contender: Contender, schedule: Schedule, on_period: Callable[[], None]) -> None:
        self._contender = contender
        self._schedule = schedule
        self._on_period = on_period
        self._periods = [Period() for _ in range(schedule.num_periods)]
        self._due: deque[float] = deque()  # by the time since the start
        self._idle: deque[_Connection] = deque()  # in turn: the server ends those that lie idle
        self._start = 0.0

    async def run(self) -> list[Period]:
        connections = [await self._connect() for _ in range(self._schedule.num_connections)]
        self._idle.extend(connections)
        self._start = time.perf_counter()
        num_due, per_second = 0, self._schedule.per_second
        for number, _ in enumerate(self._periods, start=1):
            while (now := self._now()) < number * self._schedule.period_seconds:
                wanted = int(now * per_second)
                self._due.extend(count / per_second for count in range(num_due, wanted))
                num_due = wanted
                self._send_due()
                await asyncio.sleep(TICK_SECONDS)
            self._on_period()
        await self._settle()
        for connection in connections:
            connection.close()
        return self._periods

    def answered(self, connection: "_Connection", due: float, status: int) -> None:
        number = int(due // self._schedule.period_seconds)
        period = self._periods[min(number, len(self._periods) - 1)]
        if status == 200:
            period.seconds.append(self._now() - due)
        else:
            period.refused[status] += 1
        self._idle.append(connection)
        self._send_due()

    async def _connect(self) -> "_Connection":
        parts = urlsplit(self._contender.server.url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self, as_bytes(self._contender)), parts.hostname, parts.port
        )
        return connection

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._idle.popleft().send(self._due.popleft())

    async def _settle(self) -> None:
        """Wait for what is under way; what has no answer then has failed."""
        end, num_connections = time.perf_counter() + PATIENCE_SECONDS, self._schedule.num_connections
        while len(self._idle) < num_connections and time.perf_counter() < end:
            await asyncio.sleep(TICK_SECONDS)
        if num_lost := num_connections - len(self._idle) + len(self._due):
            self._periods[-1].refused[0] += num_lost

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


def as_bytes(contender: Contender) -> bytes:
    """The request as it goes over the wire."""
    request, host = contender.request, urlsplit(contender.server.url).netloc
    headers = {"Host": host, "Content-Length": str(len(request.body)), **request.headers}
    lines = [f"POST {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body
