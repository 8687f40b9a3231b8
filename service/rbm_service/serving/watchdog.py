"""Ends the process when its event loop stands still."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

EXIT_ENGINE_LOST: Final = 4
CHECKS: Final = 4  # of the watchdog, within its time limit
HEARTBEATS: Final = 16  # of the event loop, in the same time

log = structlog.get_logger(__name__)


@contextmanager
def watching(timeout_seconds: float) -> Iterator[None]:
    """Watch the running event loop for as long as the block runs."""
    watchdog = Watchdog(timeout_seconds)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.close()


class Watchdog:
    """Ends the process when the event loop that started it has stood still for too long."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._num_heartbeats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rbm-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch the running event loop."""
        self._heartbeat()
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        self._thread.join()
        if self._timer is not None:
            self._timer.cancel()

    def _heartbeat(self) -> None:
        self._num_heartbeats += 1
        self._timer = asyncio.get_running_loop().call_later(
            self._timeout_seconds / HEARTBEATS, self._heartbeat
        )

    def _watch(self) -> None:
        """By counting looks, not by the clock: a process that was stopped for a while does not hang."""
        seen = num_silent = 0
        while not self._closed.wait(self._timeout_seconds / CHECKS):
            num_silent = num_silent + 1 if self._num_heartbeats == seen else 0
            seen = self._num_heartbeats
            if num_silent >= CHECKS:
                log.critical("event loop stands still", seconds=self._timeout_seconds)
                os._exit(EXIT_ENGINE_LOST)
