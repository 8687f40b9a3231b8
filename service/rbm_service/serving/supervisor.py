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
from functools import partial
from typing import Final

import structlog

from rbm_service.serving.model import ServedModel
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.watchdog import Watchdog

TICK_SECONDS: Final = 0.25
PAUSES_SECONDS: Final = (0.0, 1.0, 4.0)  # one before each try
REBUILD_TIMEOUTS: Final = 4  # a try may take as long as so many batches

Rebuild = Callable[[ServedModel], Awaitable[bool]]

log = structlog.get_logger(__name__)


class EngineLostError(Exception):
    """The engine failed, and was not rebuilt."""

    def __init__(self, model: ServedModel, what: str) -> None:
        super().__init__(f"{model.name} {model.version}: {what}")


class Supervisor:
    """Has every model in service whose engine is down rebuilt, one after the other.

    Args:
        rebuild: says whether the engine that was down is gone.
        timeout_seconds: the longest time for one batch.
    """

    def __init__(self, models: ModelRegistry, rebuild: Rebuild, timeout_seconds: float) -> None:
        self._models = models
        self._rebuild = rebuild
        self._limit_seconds = REBUILD_TIMEOUTS * timeout_seconds

    async def follow(self) -> None:
        """Look, every so often, until the service begins to drain.

        Raises:
            EngineLostError: an engine is down for good.
        """
        while not self._models.draining:
            for served in self._models.in_service:
                if served.batcher.is_down:
                    await self._recover(served)
            await asyncio.sleep(TICK_SECONDS)

    async def _recover(self, served: ServedModel) -> None:
        for pause in PAUSES_SECONDS:
            await asyncio.sleep(pause)
            try:
                # Not `wait_for`, which loses a cancellation that comes together with the result.
                async with asyncio.timeout(self._limit_seconds):
                    if await self._rebuild(served):
                        return
            except TimeoutError:  # its thread is lost, and what holds it would hold the next
                raise EngineLostError(served, f"not rebuilt within {self._limit_seconds:g} s") from None
        raise EngineLostError(served, f"{len(PAUSES_SECONDS)} tries to rebuild it failed")


@asynccontextmanager
async def supervising(
    models: ModelRegistry, rebuild: Rebuild, timeout_seconds: float, on_lost: Callable[[], None]
) -> AsyncIterator[None]:
    """A supervisor at work for as long as the block runs, and a watchdog.

    Args:
        on_lost: called once an engine is lost; it has to see to it that the block ends.

    Raises:
        EngineLostError: after the block, when an engine was lost or is down.
    """
    following = asyncio.create_task(Supervisor(models, rebuild, timeout_seconds).follow())
    following.add_done_callback(partial(_on_ended, on_lost))
    watchdog = Watchdog(timeout_seconds)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.close()
        following.cancel()
        await asyncio.wait([following])
    if not following.cancelled():
        following.result()
    for model in models.failed:
        error = EngineLostError(model, "down when the service ended")
        _log_lost(error)
        raise error


def _on_ended(on_lost: Callable[[], None], following: asyncio.Task[None]) -> None:
    if not following.cancelled() and (error := following.exception()):
        on_lost()  # first: it depends on no log
        _log_lost(error)


def _log_lost(error: BaseException) -> None:
    log.critical("engine lost", reason=str(error))
