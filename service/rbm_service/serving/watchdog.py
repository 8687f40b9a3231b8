"""Ends the process when its event loop stands still."""

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import Final

EXIT_ENGINE_LOST: Final = 4
CHECKS: Final = 4  # of the watchdog, within its time limit
HEARTBEATS: Final = 16  # of the event loop, in the same time
STDERR: Final = 2


class Watchdog:
    """`with Watchdog(seconds):` ends the process when the running event loop stands still for too long.

    By then anything may be stuck, the log with it; so the thread shares nothing with the rest of the process,
    and makes everything that it needs beforehand.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        words = b'{"event": "event loop stands still", "level": "critical", "seconds": %g}\n'
        self._last_words = words % timeout_seconds
        self._num_heartbeats = 0
        self._open = threading.Lock()  # held until the watchdog is closed
        self._thread = threading.Thread(target=self._watch, name="rbm-watchdog", daemon=True)

    def __enter__(self) -> None:
        self._heartbeat()
        self._open.acquire()
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._open.release()
        self._thread.join()
        self._timer.cancel()

    def _heartbeat(self) -> None:
        self._num_heartbeats += 1
        loop, seconds = asyncio.get_running_loop(), self._timeout_seconds / HEARTBEATS
        self._timer = loop.call_later(seconds, self._heartbeat)

    def _watch(self) -> None:
        """Count checks rather than seconds: a process that was stopped for a while does not hang."""
        seen = num_silent = 0
        while not self._open.acquire(timeout=self._timeout_seconds / CHECKS):
            num_silent = num_silent + 1 if self._num_heartbeats == seen else 0
            seen = self._num_heartbeats
            if num_silent >= CHECKS:
                self._end_process()

    def _end_process(self) -> None:
        """Say why, if stderr takes it at once, and end; should the write be held up, an alarm ends it."""
        with suppress(Exception):
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            os.set_blocking(STDERR, False)
            try:
                os.write(STDERR, self._last_words)
            finally:
                os.set_blocking(STDERR, True)  # others may write to the same pipe
        os._exit(EXIT_ENGINE_LOST)
