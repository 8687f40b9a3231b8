"""The thread beside the event loop that runs the engine: one thing at a time, within a time limit.

An executor of the standard library does the same with three more hand-overs between the threads, which for a
small batch take longer than the engine.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a piece of work: its result, or what it raised."""

    value: T | None
    error: BaseException | None = None

    def result(self) -> T:
        """The result; raises what the work raised."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


class Worker:
    """Does what it is given in a thread of its own and says on the event loop when it is done."""

    def __init__(self, timeout_seconds: float) -> None:
        self.is_busy = False
        self._timeout_seconds = timeout_seconds
        self._overdue: asyncio.TimerHandle | None = None
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None  # begins with the first task

    def start(
        self,
        work: Callable[[], T],
        then: Callable[[Outcome[T]], None],
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
        self._tasks.put(partial(_do, work, partial(self._on_done, then), loop))
        if self._thread is None:
            self._thread = threading.Thread(
                target=_do_all, args=(self._tasks,), name="rbm-engine", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Begin nothing more; what is being done ends by itself, and nobody minds how long it takes."""
        if self._overdue is not None:
            self._overdue.cancel()
        self._tasks.put(None)
        if self._thread is not None and not self.is_busy:
            self._thread.join()

    def _on_done(self, then: Callable[[Outcome[T]], None], outcome: Outcome[T]) -> None:
        self.is_busy = False
        if self._overdue is not None:
            self._overdue.cancel()
        then(outcome)


def _do_all(tasks: SimpleQueue[Callable[[], None] | None]) -> None:
    while (task := tasks.get()) is not None:
        task()


def _do(work: Callable[[], T], tell: Callable[[Outcome[T]], None], loop: asyncio.AbstractEventLoop) -> None:
    try:
        outcome = Outcome(work())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
        outcome = Outcome(None, error)
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(tell, outcome)
