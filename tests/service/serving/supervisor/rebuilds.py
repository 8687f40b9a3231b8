"""A try to rebuild that fails, and a supervision that goes on until the engine is lost."""

import asyncio


def in_vain(served, really):
    raise RuntimeError("the context is lost")


async def until_lost(fail, supervised, **limits):
    lost = asyncio.Event()
    async with supervised(lost.set, **limits):
        await fail()
        await lost.wait()
