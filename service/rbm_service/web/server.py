"""The web server, and how it ends: nothing that it accepted is lost.

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
import signal
import time
from types import FrameType
from typing import Final

import structlog
import uvicorn

from rbm_service.serving.registry import ModelRegistry
from rbm_service.web.connection import CONNECTION_CLOSE

QUIET_SECONDS: Final = 1.0
TICK_SECONDS: Final = 0.05

log = structlog.get_logger(__name__)


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
        """Take the first signal; a second one meets the system's own way to handle it."""
        self.drain_and_exit()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

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
