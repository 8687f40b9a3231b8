"""Waiting for an answer only for as long as somebody wants it.

Most answers come in a few milliseconds: nobody watches their client. Only for those that take longer, a task
waits for the message that the client has gone; one timer for all of them looks which these are.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

PATIENCE_SECONDS: Final = 0.05  # until somebody looks whether the client is still there; twice that at most

T = TypeVar("T")


class Lookouts:
    """Watches the clients of one event loop that wait for long."""

    def __init__(self) -> None:
        self._recent: set[_Lookout] = set()  # those that have come since the last look
        self._earlier: set[_Lookout] = set()  # and in the time before it
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # kept, as asking for it takes a system call

    async def answer_or_gone(self, request: Request, answering: Awaitable[T]) -> T:
        """The answer to a request whose body was read.

        Raises:
            ClientDisconnect: the client has gone; what was awaited is cancelled.
        """
        self._loop = self._loop or asyncio.get_running_loop()
        lookout = _Lookout(request, asyncio.current_task(self._loop))
        self._recent.add(lookout)
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE_SECONDS, self._look)
        try:
            return await answering
        except asyncio.CancelledError:
            if lookout.is_client_gone:
                lookout.waiter.uncancel()
                raise ClientDisconnect from None
            raise
        finally:
            self._recent.discard(lookout)
            self._earlier.discard(lookout)
            lookout.end()

    def _look(self) -> None:
        for lookout in self._earlier:
            lookout.begin()
        self._earlier, self._recent = self._recent, set()
        self._timer = None
        if self._earlier:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._look)


class _Lookout:
    """Cancels the task that made it when the client of its request has gone."""

    __slots__ = ("_request", "_watching", "is_client_gone", "waiter")

    def __init__(self, request: Request, waiter: asyncio.Task[object] | None) -> None:
        assert waiter is not None  # nothing but a task can await
        self.waiter = waiter
        self.is_client_gone = False
        self._request = request
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on."""
        self._watching = asyncio.create_task(self._watch())

    def end(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass  # what comes after the body says nothing
        self.is_client_gone = True
        self.waiter.cancel()
