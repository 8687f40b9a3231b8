"""What the tests of the supervisor wait for."""

import asyncio
import threading


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def in_vain(served, really):
    raise RuntimeError("the context is lost")


class Gate:
    """Tries to rebuild wait here until it is opened."""

    def __init__(self, function):
        self.function, self.entered, self.opened = function, threading.Event(), threading.Event()

    def __call__(self, served, really):
        self.entered.set()
        assert self.opened.wait(30)
        return self.function(served, really)


async def until_lost(fail, supervised, **limits):
    lost = asyncio.Event()
    async with supervised(lost.set, **limits):
        await fail()
        await lost.wait()
