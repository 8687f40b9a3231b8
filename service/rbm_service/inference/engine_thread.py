"""The thread beside the event loop that runs the engine: one thing after the other, each within a time limit.

An executor of the standard library does the same with three more hand-overs between the threads, which for a
small batch take longer than the engine.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
Work = Callable[[Callable[[], None]], T]


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


Tell = Callable[[Outcome[Any]], None]
Task = tuple[Work[Any], Tell]


class EngineThread:
    """Does what it is given in a thread of its own and says on the event loop when it is done."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._overdue: deque[Callable[[], None]] = deque()  # whom to tell, for each thing that is not done
        self._timer: asyncio.TimerHandle | None = None  # for the first of them
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._tell_last: Callable[[], None] | None = None  # what was done last, and nobody knows yet
        self._thread: threading.Thread | None = None  # begins with the first task

    @property
    def num_tasks(self) -> int:
        """How many things are not done: the one that is being done, and those behind it."""
        return len(self._overdue)

    def start(
        self,
        work: Work[T],
        then: Callable[[Outcome[T]], None],
        on_overdue: Callable[[], None],
    ) -> None:
        """Begin something, now or when everything before it is done.

        Args:
            work: gets something to call when it is about to leave the interpreter to other threads: the loop
                is told only then what was done before, or it would hold the work up at once with all that
                follows from it.
            then: gets the outcome.
            on_overdue: called when it is not done in time, from its beginning. A thread cannot be stopped:
                whoever is told so gives up this engine_thread.
        """
        loop = asyncio.get_running_loop()
        self._overdue.append(on_overdue)
        if len(self._overdue) == 1:
            self._watch_the_first()
        self._tasks.put((work, partial(_tell_on, loop, partial(self._on_done, then))))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="rbm-engine", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Begin nothing more; what is being done ends by itself, and nobody minds how long it takes."""
        if self._timer is not None:
            self._timer.cancel()
        self._tasks.put(None)
        if self._thread is not None and not self._overdue:
            self._thread.join()

    def _on_done(self, then: Callable[[Outcome[T]], None], outcome: Outcome[T]) -> None:
        self._overdue.popleft()
        if self._timer is not None:
            self._timer.cancel()
        if self._overdue:
            self._watch_the_first()
        then(outcome)

    def _watch_the_first(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._timeout_seconds, self._overdue[0])

    def _work(self) -> None:
        """All that the thread does."""
        while True:
            if self._tasks.empty():
                self._tell()
            if not self._do(self._tasks.get()):
                break
        self._tell()

    def _do(self, task: Task | None) -> bool:
        """Do one thing, and keep nothing of it; False when there is nothing more to do."""
        if task is None:
            return False
        work, tell = task
        try:
            outcome = Outcome(work(self._tell))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
            outcome = Outcome(None, error)
        self._tell()
        self._tell_last = partial(tell, outcome)
        return True

    def _tell(self) -> None:
        tell, self._tell_last = self._tell_last, None
        if tell is not None:
            tell()


def _tell_on(
    loop: asyncio.AbstractEventLoop, on_done: Callable[[Outcome[T]], None], outcome: Outcome[T]
) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(on_done, outcome)
