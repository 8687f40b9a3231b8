"""The web server, and how it ends: nothing that it accepted is lost. And a small one, for /metrics alone.

uvicorn by itself closes its listener first, so that a load balancer learns of the end from refused
connections. Here, the first SIGTERM or SIGINT begins this:

1. /readyz turns 503 `draining`. Requests are still taken, on open connections and on new ones, since a load
   balancer needs a moment to see that; their answers carry `Connection: close`. This lasts until no request
   has come for `QUIET_SECONDS` and all are answered, at most half of `drain_seconds`.
2. Requests that come now are refused with 503 `draining` and `Retry-After`, while those taken are answered;
   again until it is quiet, at most until `drain_seconds` have passed since the signal. What has no answer by
   then is refused in the same way, so that in the end every request that was read has its answer.
3. The listener closes, idle connections close, and the process ends with 0. Only a client that still opens
   connections then, having been refused all along, may see one of them reset.

A second signal ends the process at once, as if it had never caught one.
"""

import asyncio
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbm_service.serving.registry import ModelRegistry
from rbm_service.web.connection import Connection
from rbm_service.web.limits import BodyLimits
from rbm_service.web.request_context import CONNECTION_CLOSE

QUIET_SECONDS: Final = 1.0
TICK_SECONDS: Final = 0.05
SCRAPE_SECONDS: Final = 5.0  # that a caller of /metrics may be silent

log = structlog.get_logger(__name__)


def server_config(app: ASGIApp, header_seconds: float, body_limits: BodyLimits) -> uvicorn.Config:
    """Return how uvicorn is to serve an application: over `Connection`, with nothing of its own around it."""
    return uvicorn.Config(
        app,
        http=partial(Connection, header_seconds, body_limits),  # type: ignore[arg-type]  # which makes them
        ws="none",
        lifespan="off",
        proxy_headers=False,  # nothing here asks who the client is
        access_log=False,
        log_config=None,
    )


class Server(uvicorn.Server):
    """uvicorn, but it drains before it closes anything."""

    def __init__(self, config: uvicorn.Config, models: ModelRegistry, drain_seconds: float) -> None:
        super().__init__(config)
        self._models = models
        self._drain_seconds = drain_seconds
        self._num_arrivals, self._last_arrival = -1, -math.inf  # as seen while it drains

    def drain_and_exit(self) -> None:
        """Begin the same end without a signal, or do nothing where it has begun."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take the first signal; a second one ends the process, in the system's way where it has one."""
        self.drain_and_exit()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once if os.getpid() == 1 else signal.SIG_DFL)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port.

        Raises:
            OSError: it cannot be opened, or the host is no name; uvicorn alone would end the process.
        """
        try:
            await super().startup(sockets)
        except (SystemExit, UnicodeError) as error:
            address = f"RBM_HOST={self.config.host}, RBM_PORT={self.config.port}"
            raise OSError(f"cannot listen on {address}: {error.__context__}") from None

    async def main_loop(self) -> None:
        """Serve until told to stop, then drain; uvicorn closes what is left."""
        await super().main_loop()
        await self._drain()

    async def _drain(self) -> None:
        log.info("draining")
        end = time.monotonic() + self._drain_seconds
        self._models.begin_drain()
        self.server_state.default_headers = [*self.server_state.default_headers, CONNECTION_CLOSE]
        await self._until_quiet(end - self._drain_seconds / 2)
        self._models.close()
        await self._until_quiet(end)
        self._models.abandon()
        for listener in self.servers:
            listener.close()
        await asyncio.sleep(TICK_SECONDS)  # what was accepted before is read, and so has its answer awaited
        self.config.timeout_graceful_shutdown = max(1, math.ceil(end - time.monotonic()))

    async def _until_quiet(self, end: float) -> None:
        """Wait until no request is being answered and none has come for `QUIET_SECONDS`, or until a time."""
        while time.monotonic() < end:
            if self._num_arrivals != self._models.num_arrivals:
                self._num_arrivals, self._last_arrival = self._models.num_arrivals, time.monotonic()
            if not self._models.is_busy and time.monotonic() - self._last_arrival >= QUIET_SECONDS:
                return
            await asyncio.sleep(TICK_SECONDS)


def _end_at_once(signal_number: int, frame: FrameType | None) -> None:
    """End as if by the signal: without a handler, process 1 of a container would ignore it."""
    os._exit(128 + signal_number)


@contextmanager
def serving_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    """Serve /metrics on a port of its own for as long as the block runs, at once and whatever the path.

    One thread does it beside the event loop of the API, so that a scrape is answered while models are loaded
    and when that loop stands still. Connections that send nothing, or read nothing, are closed in time.

    Raises:
        OSError: the port cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"/metrics cannot listen on {host}:{port}: {error}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # inherited by connections: what is not read in time closes them
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * SCRAPE_SECONDS))
    render = make_asgi_app(registry)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await render(scope, _nothing_more, send)

    server = uvicorn.Server(server_config(app, SCRAPE_SECONDS, BodyLimits(timeout_seconds=SCRAPE_SECONDS)))
    server.config.timeout_graceful_shutdown = 1
    serving = threading.Thread(target=server.run, args=[[listener]], name="rbm-metrics", daemon=True)
    serving.start()
    try:
        yield
    finally:
        server.should_exit = True
        serving.join()


async def _nothing_more() -> Message:
    """Wait for no body: a caller that announces one would never be answered."""
    return {"type": "http.request", "body": b"", "more_body": False}
