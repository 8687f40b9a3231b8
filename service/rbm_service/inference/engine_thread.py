"""The thread beside the event loop that runs the engine: one thing after the other, each within a time limit.

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
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")
Work = Callable[[Callable[[], None]], T]

CHECKS: Final = 4  # within a time limit


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a piece of work: its result, or what it raised."""

    value: T | None
    error: Exception | None = None

    def result(self) -> T:
        """The result; raises what the work raised."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work, and whom to tell its outcome on which event loop."""

    work: Work[Any]
    then: Callable[[Outcome[Any]], None]
    loop: asyncio.AbstractEventLoop


def nobody_minds() -> None:
    """Do nothing."""


class EngineThread:
    """Does what it is given in a thread of its own and tells the event loop when it is done.

    The thread starts with the first work. Where the system gives none, that work is refused, and the next one
    tries again.

    Args:
        timeout_seconds: the longest time for one piece of work, from its beginning.
        on_overdue: called when one takes longer. A thread cannot be stopped: whoever is told so gives this
            one up.

    Attributes:
        num_tasks: how many things are not done: the one that is being done, and those behind it.
    """

    def __init__(self, timeout_seconds: float, on_overdue: Callable[[], None]) -> None:
        self.num_tasks = 0
        self._timeout_seconds = timeout_seconds
        self._on_overdue = on_overdue
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._announcement: Callable[[], object] | None = None  # of what was done last
        self._thread: threading.Thread | None = None

    def run(self, work: Work[T], then: Callable[[Outcome[T]], None]) -> None:
        """Begin something, now or when everything before it is done.

        Args:
            work: gets something to call when it is about to leave the interpreter to other threads: the loop
                is told only then what was done before, or it would hold the work up at once with all that
                follows from it.
            then: gets the outcome, on the event loop that runs.

        Raises:
            RuntimeError: there is no thread yet, and the system gives none.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="rbm-engine", daemon=True)
            thread.start()
            self._thread = thread
        self.num_tasks += 1
        if self.num_tasks == 1:
            self._check_later(CHECKS)
        self._tasks.put(Task(work, partial(self._on_done, then), asyncio.get_running_loop()))

    def close(self) -> None:
        """Begin nothing more; what is being done ends by itself, and nobody minds how long it takes."""
        if self._timer is not None:
            self._timer.cancel()
        self._on_overdue = nobody_minds
        self._tasks.put(None)
        if self._thread is not None and not self.num_tasks:
            self._thread.join()

    def _on_done(self, then: Callable[[Outcome[T]], None], outcome: Outcome[T]) -> None:
        self.num_tasks -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self.num_tasks:
            self._check_later(CHECKS)
        then(outcome)

    def _check_later(self, checks_left: int) -> None:
        """Check several times within the time limit whether the work is still not done: while the event loop
        itself stands still only one check passes, and the engine is not to blame for that."""
        if not checks_left:
            self._on_overdue()
            return
        self._timer = asyncio.get_running_loop().call_later(
            self._timeout_seconds / CHECKS, self._check_later, checks_left - 1
        )

    def _work(self) -> None:
        """Do all that the thread is for."""
        while (task := self._tasks.get()) is not None:
            self._do(task)
            del task  # or what a request is made of would live until the next one comes
            if self._tasks.empty():
                self._announce()
        self._announce()

    def _do(self, task: Task) -> None:
        try:
            outcome = Outcome(task.work(self._announce))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
            outcome = Outcome(None, error)
        self._announce()
        self._announcement = partial(task.loop.call_soon_threadsafe, task.then, outcome)

    def _announce(self) -> None:
        announcement, self._announcement = self._announcement, None
        if announcement is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                announcement()
