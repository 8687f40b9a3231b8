"""The thread beside the event loop that runs the engine: one thing after the other, each within a time limit.

An executor of the standard library does the same with three more hand-overs between the threads, which for a
small batch take longer than the engine.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeVar

T = TypeVar("T")
Work = Callable[[Callable[[], None]], T]
Then = Callable[[Future[T]], None]

CHECKS: Final = 4  # within a time limit


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
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._announcement: Callable[[], object] | None = None  # of what was done last
        self._thread: threading.Thread | None = None

    def run(self, work: Work[T], then: Then[T]) -> None:
        """Begin something, now or when everything before it is done.

        Args:
            work: gets something to call when it is about to leave the interpreter to other threads: the loop
                is told only then what was done before, or it would hold the work up at once with all that
                follows from it.
            then: gets the outcome, which is there, on the event loop that runs.

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
        self._tasks.put(partial(self._do, work, then, asyncio.get_running_loop()))

    def close(self) -> None:
        """Begin nothing more; what is being done ends by itself, and nobody minds how long it takes."""
        if self._timer is not None:
            self._timer.cancel()
        self._on_overdue = lambda: None
        self._tasks.put(None)
        if self._thread is not None and not self.num_tasks:
            self._thread.join()

    def _on_done(self, then: Then[T], outcome: Future[T]) -> None:
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
            task()
            del task  # or what a request is made of would live until the next one comes
            if self._tasks.empty():
                self._announce()
        self._announce()

    def _do(self, work: Work[T], then: Then[T], loop: asyncio.AbstractEventLoop) -> None:
        outcome: Future[T] = Future()
        try:
            outcome.set_result(work(self._announce))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
            outcome.set_exception(error)
        self._announce()
        self._announcement = partial(loop.call_soon_threadsafe, self._on_done, then, outcome)

    def _announce(self) -> None:
        announcement, self._announcement = self._announcement, None
        if announcement is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                announcement()
