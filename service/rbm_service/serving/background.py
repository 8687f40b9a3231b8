"""A thread for work that may never end: an executor of the standard library would keep the process for it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundThread:
    """Does one thing after the other in a daemon thread, which begins with the first of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Queue a call.

        Raises:
            RuntimeError: the thread cannot be started at the moment.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        future: Future[T] = Future()
        self._tasks.put((future, partial(work, *arguments)))
        return future

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Queue a call, and wait for what it returns or raises."""
        return await asyncio.wrap_future(self.submit(work, *arguments))

    def close(self) -> None:
        """End the thread when all that was queued is done; nothing waits for that."""
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
                    future.set_exception(error)
            del task, future, work  # or its result would live until the next one comes
