"""What happens when the engine fails: the model is rebuilt from its bundle, or the process ends.

The batcher notices that its engine hangs or only fails, and refuses everything. The supervisor notices that,
loads the same version anew beside it, in the way every model comes into service, and lets it take the place.
Where that does not succeed, as with a GPU whose context is lost, a new process is the last hope: the service
drains and ends with `EXIT_ENGINE_LOST`, and whoever keeps it running starts another.

Small batches run on the event loop, and while that stands still nothing of this happens: the watchdog, a
thread beside it, then ends the process at once.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from rbm_service.serving.model import ServedModel
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.watchdog import watching

TICK_SECONDS: Final = 0.25
PAUSES_SECONDS: Final = (0.0, 1.0, 4.0)  # one before each try
REBUILD_TIMEOUTS: Final = 4  # a try may take as long as so many batches

Rebuild = Callable[[ServedModel], ServedModel]

log = structlog.get_logger(__name__)


class EngineLostError(Exception):
    """The engine failed, and so did every try to rebuild it."""


class Supervisor:
    """Rebuilds every model in service whose engine is down, one at a time.

    Args:
        rebuild: loads the same model anew, in whatever thread.
        timeout_seconds: the longest time for one batch.
    """

    def __init__(self, models: ModelRegistry, rebuild: Rebuild, timeout_seconds: float) -> None:
        self._models = models
        self._rebuild = rebuild
        self._limit_seconds = REBUILD_TIMEOUTS * timeout_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-rebuild")

    async def follow(self) -> None:
        """Look, every so often, until the service begins to drain.

        Raises:
            EngineLostError: there is no hope left.
        """
        while not self._models.draining:
            for served in self._models.in_service:
                served.metrics.engine_healthy.set(not served.batcher.is_down)
                if served.batcher.is_down:
                    await self._recover(served)
            await asyncio.sleep(TICK_SECONDS)

    def close(self) -> None:
        """Rebuild no more; a model that is being rebuilt is let go when it is done."""
        self._thread.shutdown(wait=False)

    async def _recover(self, served: ServedModel) -> None:
        self._models.slot_of(served.name).show_failure()
        for pause in PAUSES_SECONDS:
            await asyncio.sleep(pause)
            if self._is_replaced(served):
                return
            log.info("rebuilding model", model=served.name, version=served.version)
            rebuilt = await self._try_rebuild(served)
            if rebuilt is not None:
                self._put_in_service(rebuilt, served)
                return
        raise EngineLostError(
            f"{served.name} {served.version}: {len(PAUSES_SECONDS)} tries to rebuild it failed"
        )

    async def _try_rebuild(self, served: ServedModel) -> ServedModel | None:
        rebuilding = asyncio.get_running_loop().run_in_executor(self._thread, self._rebuild, served)
        try:
            return await asyncio.wait_for(rebuilding, self._limit_seconds)
        except TimeoutError:  # its thread is lost, and what holds it would hold the next
            limit = f"{self._limit_seconds:g} s"
            raise EngineLostError(f"{served.name} {served.version}: not rebuilt within {limit}") from None
        except Exception as error:  # noqa: BLE001 - the unit of work is this try
            log.error("model not rebuilt", model=served.name, version=served.version, reason=str(error))
            return None

    def _put_in_service(self, rebuilt: ServedModel, failed: ServedModel) -> None:
        if self._is_replaced(failed):
            rebuilt.batcher.close()
            return
        self._models.swap(rebuilt)
        rebuilt.metrics.engine_restarts.inc()
        log.info("model rebuilt", model=rebuilt.name, version=rebuilt.version)

    def _is_replaced(self, served: ServedModel) -> bool:
        return self._models.draining or all(model is not served for model in self._models.in_service)


def end_serving() -> None:
    """Let the service drain, as if it was told to end from outside."""
    signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def supervising(
    models: ModelRegistry, rebuild: Rebuild, timeout_seconds: float, end: Callable[[], None] = end_serving
) -> AsyncIterator[None]:
    """A supervisor at work for as long as the block runs, and a watchdog.

    Args:
        end: called when there is no hope left; it has to see to it that the block ends.

    Raises:
        EngineLostError: after the block, when there was no hope left.
    """
    supervisor = Supervisor(models, rebuild, timeout_seconds)
    following = asyncio.create_task(supervisor.follow())
    following.add_done_callback(partial(_on_ended, end))
    try:
        with watching(timeout_seconds):
            yield
    finally:
        following.cancel()
        await asyncio.wait([following])
        supervisor.close()
    if not following.cancelled():
        following.result()


def _on_ended(end: Callable[[], None], following: asyncio.Task[None]) -> None:
    if not following.cancelled() and (error := following.exception()):
        log.critical("engine lost", reason=str(error))
        end()
