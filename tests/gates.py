"""What holds a call up until a test lets it go on, and what waits without holding up the event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class Gate:
    """Calls a function, but waits inside until it is opened."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.entered.set()
        assert self.opened.wait(30)
        return self.function(*arguments)


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; it may take half a minute."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)
