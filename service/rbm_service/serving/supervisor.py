"""Notices that an engine is down, and asks for the model to be rebuilt; where that fails, the process ends.

The batcher finds out that its engine hangs or only fails, and refuses everything. The supervisor sees that
and asks the manager to load the same version anew. Where no try succeeds, as with a GPU whose context is
lost, a new process is the last hope: the service drains and ends with `EXIT_ENGINE_LOST`, and whoever keeps
it running starts another. It ends in the same way when an engine goes down while it drains.

Small batches run on the event loop, and while that stands still nothing of this happens: the watchdog, a
thread beside it, then ends the process at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from rbm_service.serving.model import ServedModel
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.watchdog import Watchdog

TICK_SECONDS: Final = 0.25
PAUSES_SECONDS: Final = (0.0, 1.0, 4.0)  # one before each try
REBUILD_TIMEOUTS: Final = 4  # a try may take as long as so many batches

Rebuild = Callable[[ServedModel], Awaitable[bool]]
OnLost = Callable[[], None]

log = structlog.get_logger(__name__)


class EngineLostError(Exception):
    """The engine failed, and was not rebuilt."""

    def __init__(self, model: ServedModel, what: str) -> None:
        super().__init__(f"{model.name} {model.version}: {what}")


@asynccontextmanager
async def supervising(
    models: ModelRegistry, rebuild: Rebuild, timeout_seconds: float, on_lost: OnLost
) -> AsyncIterator[None]:
    """A supervisor at work for as long as the block runs, and a watchdog.

    Args:
        rebuild: says whether the engine that was down is gone.
        timeout_seconds: the longest time for one batch.
        on_lost: called once an engine is lost; it has to see to it that the block ends.

    Raises:
        EngineLostError: after the block, when an engine was lost or is down.
    """
    following = asyncio.create_task(_follow(models, rebuild, REBUILD_TIMEOUTS * timeout_seconds, on_lost))
    try:
        with Watchdog(timeout_seconds):
            yield
    finally:
        following.cancel()
        await asyncio.wait([following])
    if not following.cancelled():
        following.result()
    for model in models.failed:
        lost = EngineLostError(model, "down when the service ended")
        log.critical("engine lost", reason=str(lost))
        raise lost


async def _follow(models: ModelRegistry, rebuild: Rebuild, limit_seconds: float, on_lost: OnLost) -> None:
    """Have models whose engine is down rebuilt, one after the other, until the service begins to drain."""
    try:
        while not models.draining:
            for served in models.in_service:
                if served.batcher.is_down:
                    await _recover(served, rebuild, limit_seconds)
            await asyncio.sleep(TICK_SECONDS)
    except Exception as error:
        on_lost()  # first: it depends on no log
        log.critical("engine lost", reason=str(error))
        raise


async def _recover(served: ServedModel, rebuild: Rebuild, limit_seconds: float) -> None:
    for pause in PAUSES_SECONDS:
        await asyncio.sleep(pause)
        try:
            # Not `wait_for`, which loses a cancellation that comes together with the result.
            async with asyncio.timeout(limit_seconds):
                if await rebuild(served):
                    return
        except TimeoutError:  # its thread is lost, and what holds it would hold the next
            raise EngineLostError(served, f"not rebuilt within {limit_seconds:g} s") from None
    raise EngineLostError(served, f"{len(PAUSES_SECONDS)} tries to rebuild it failed")
