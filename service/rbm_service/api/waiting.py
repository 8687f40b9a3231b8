"""Waiting for an answer only as long as somebody waits for it.

The web server goes on with a request whose client has gone. To notice, somebody must await the next message,
which takes a task; most answers are there before a client could lose patience, so that the task begins late.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

PATIENCE_SECONDS: Final = 0.05  # until somebody looks whether the client is still there

T = TypeVar("T")


async def answer_or_gone(request: Request, answering: Awaitable[T]) -> T:
    """The answer to a request whose body was read.

    Raises:
        ClientDisconnect: the client has gone; what was awaited is cancelled.
    """
    lookout = _Lookout(request)
    timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, lookout.begin)
    try:
        return await answering
    except asyncio.CancelledError:
        if lookout.is_client_gone:
            lookout.waiter.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        lookout.end()


class _Lookout:
    """Cancels the task that made it when the client of its request has gone."""

    __slots__ = ("_request", "_watching", "is_client_gone", "waiter")

    def __init__(self, request: Request) -> None:
        waiter = asyncio.current_task()
        assert waiter is not None
        self.waiter = waiter
        self.is_client_gone = False
        self._request = request
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass  # what comes after the body says nothing
        self.is_client_gone = True
        self.waiter.cancel()
