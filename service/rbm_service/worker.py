"""The thread beside the event loop that runs the engine: one thing at a time, within a time limit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does what it is given in a thread of its own and says on the event loop when it is done."""

    def __init__(self, timeout_seconds: float) -> None:
        self.is_busy = False
        self._timeout_seconds = timeout_seconds
        self._overdue: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-engine")

    def start(
        self,
        work: Callable[[], T],
        then: Callable[[asyncio.Future[T]], None],
        on_overdue: Callable[[], None],
    ) -> None:
        """Begin something, while nothing else is being done.

        Args:
            then: gets the outcome.
            on_overdue: called when it is not done in time. A thread cannot be stopped: whoever is told so
                gives up this worker.
        """
        loop = asyncio.get_running_loop()
        self.is_busy = True
        self._overdue = loop.call_later(self._timeout_seconds, on_overdue)
        loop.run_in_executor(self._thread, work).add_done_callback(partial(self._on_done, then))

    def close(self) -> None:
        """Begin nothing more; what is being done ends by itself, and nobody minds how long it takes."""
        if self._overdue is not None:
            self._overdue.cancel()
        self._thread.shutdown(wait=not self.is_busy)

    def _on_done(self, then: Callable[[asyncio.Future[T]], None], done: asyncio.Future[T]) -> None:
        self.is_busy = False
        if self._overdue is not None:
            self._overdue.cancel()
        then(done)
