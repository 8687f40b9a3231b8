"""How models come into service, change and leave it: the one lifecycle manager, one change at a time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from rbm_bundle import BundleError, ShadowSpec
from rbm_service.errors import (
    ConflictError,
    DrainingError,
    EngineError,
    ModelRefusedError,
    ServiceError,
    reason_of,
)
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.background import BackgroundThread
from rbm_service.serving.changes import Change, IndexRow, Versions, change_of, versions_of
from rbm_service.serving.loader import Loader
from rbm_service.serving.model import ServedModel
from rbm_service.serving.registry import ModelRegistry
from rbm_service.settings import Settings

log = structlog.get_logger(__name__)


class ModelManager:
    """Follows promotions, does what an admin asks for, and rebuilds a model whose engine is down.

    One lock is held for each change and one thread loads, so no two changes meet; ONNX Runtime leaves the
    interpreter to the event loop while it works. A model takes its place only when all has gone well:
    whatever is refused changes nothing.
    """

    def __init__(self, settings: Settings, metrics: Metrics, models: ModelRegistry) -> None:
        self._settings = settings
        self._metrics = metrics
        self._models = models
        self._loader = Loader(settings, metrics)
        self._thread = BackgroundThread("rbm-loader")
        self._one_at_a_time = asyncio.Lock()
        self._woken = asyncio.Event()
        self._refused: dict[str, IndexRow] = {}

    def start(self) -> None:
        """Put the models of the settings in service, before anything else happens.

        Raises:
            BundleError, EngineError: one of them cannot be served.
        """
        names = self._loader.names_to_serve()
        self._models.expect(names)
        for name in names:
            self._models.swap(self._loader.load(name, self._loader.promoted_version(name)))

    def close(self) -> None:
        """Load no more; a version that is being loaded is let go when it is done."""
        self._thread.close()

    def wake(self) -> None:
        """Have `poll_loop` look at once."""
        self._woken.set()

    async def poll_loop(self) -> None:
        """Look, every so often and whenever woken, until the service begins to drain."""
        seconds = self._settings.reload_poll_seconds if self._settings.model_control == "poll" else 0
        while not self._models.draining:
            self._woken.clear()
            await self.poll_once()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds or None):
                    await self._woken.wait()

    async def poll_once(self) -> None:
        """Put in service what is promoted, sound and not there yet, with the shadows that are wanted."""
        for name in self._models.names:
            try:
                if await self._thread.run(self._loader.has_news, name):
                    with suppress(ServiceError):  # the log has told, or it was unloaded meanwhile
                        await self._change(name, self._loader.promoted_version)
                async with self._one_at_a_time:
                    await self._update_shadow(name)
            except Exception as error:  # noqa: BLE001 - the unit of work is one look at one model
                log.error("promotions not looked for", model=name, reason=reason_of(error))

    async def promote(self, name: str, version: int) -> Change:
        """Load a version, write it to `CURRENT`, put it in service.

        Raises:
            UnknownModelError: no model of this name is in service.
            ModelRefusedError: the version did not pass its checks.
            ConflictError: the repository cannot be written.
            DrainingError: the service is about to end.
        """
        return await self._change(name, lambda _: version, promotes=True)

    async def rollback(self, name: str) -> Change:
        """Promote the next lower version; raises what `promote` does, `ConflictError` also where none is."""
        return await self._change(name, self._loader.lower_version, promotes=True)

    async def reload(self, name: str) -> Change:
        """Look at one model, also at what was refused before; raises what `promote` does."""
        return await self._change(name, self._loader.promoted_version)

    async def set_shadow(self, name: str, wanted: ShadowSpec | None) -> None:
        """Let a version answer beside the one in service, or none, from now on, and write it to `SHADOW`.

        Raises what `promote` does, `ConflictError` also where that is the version in service; the shadow that
        was there, and the file, then stay as they are.
        """
        async with self._one_at_a_time:
            served, present = self._models.current(name), self._models.shadows.get(name)
            if self._models.draining:
                raise DrainingError
            try:
                shadow = await self._thread.run(self._loader.set_shadow, served, present, wanted)
            except ServiceError:
                raise
            except Exception as error:  # the unit of work is this version
                raise _refusal("shadow refused; nothing changes", error, model=name) from error
            self._models.set_shadow(name, shadow)

    async def load(self, name: str) -> Change:
        """Put the promoted version of any model of the repository in service; raises what `promote` does."""
        self._check_explicit()
        return await self._change(name, self._loader.promoted_version, is_new=True)

    async def unload(self, name: str) -> None:
        """Take a model out of service; returns when all that it had begun is answered.

        Raises:
            UnknownModelError: no model of this name is in service.
            ConflictError: models do not come and go by command here.
        """
        self._check_explicit()
        async with self._one_at_a_time:
            await self._models.remove(name)
            self._loader.forget(name)
            self._refused.pop(name, None)
            log.info("model unloaded", model=name)

    async def rebuild(self, failed: ServedModel) -> bool:
        """Load the version in service anew and let it take the place of a model whose engine is down.

        Returns:
            False where that did not succeed; True where it did, or the model has left by another way.
        """
        name, version = failed.name, failed.version
        async with self._one_at_a_time:
            if self._models.draining or failed is not self._models.find(name):
                return True
            log.info("rebuilding model", model=name, version=version)
            try:
                rebuilt = await self._thread.run(self._loader.load, name, version)
            except Exception as error:  # noqa: BLE001 - the unit of work is this try
                log.error("rebuild failed", model=name, version=version, reason=reason_of(error))
                return False
            self._models.swap(rebuilt)
            rebuilt.metrics.engine_restarts.inc()
            log.info("model rebuilt", model=name, version=version)
            return True

    async def index(self) -> list[IndexRow]:
        """The models in service and on their way, the last refusals, and what else the repository holds."""
        rows = [IndexRow(model.name, model.version, "READY") for model in self._models.in_service]
        rows += [IndexRow(model.name, model.version, "UNLOADING") for model in self._models.leaving]
        ready = {(row.name, row.version) for row in rows}
        if (loading := self._loader.loading) and loading not in ready:
            rows.append(IndexRow(*loading, "LOADING"))
        rows += self._refused.values()
        try:
            others = set(await asyncio.to_thread(self._loader.repository.names))
        except OSError as error:
            log.error("repository cannot be read", reason=reason_of(error))
            return rows
        others -= {row.name for row in rows}
        return [*rows, *(IndexRow(name, None, "UNAVAILABLE", "not loaded") for name in sorted(others))]

    async def versions(self, name: str) -> Versions:
        """What the repository holds of a model, in service or not; raises what `versions_of` does."""
        return await asyncio.to_thread(versions_of, self._loader.repository, name)

    def _check_explicit(self) -> None:
        if self._settings.model_control != "explicit":
            raise ConflictError("models are loaded and unloaded only with RBM_MODEL_CONTROL=explicit")

    async def _change(
        self, name: str, choose: Callable[[str], int], *, promotes: bool = False, is_new: bool = False
    ) -> Change:
        """Put the version that is chosen in service, if it is not there, with the shadow that is wanted."""
        async with self._one_at_a_time:
            former = self._models.find(name) if is_new else self._models.current(name)
            if self._models.draining:
                raise DrainingError
            try:
                model = await self._thread.run(self._loader.load_chosen, name, former, choose, promotes)
            except ServiceError:
                raise
            except Exception as error:  # the unit of work is this version
                raise self._refuse(name, former, error) from error
            finally:
                self._loader.loading = None
            self._refused.pop(name, None)
            if model is not former:
                self._models.swap(model)
            await self._update_shadow(name)
            return change_of(former, model)

    async def _update_shadow(self, name: str) -> None:
        served, shadow = self._models.find(name), self._models.shadows.get(name)
        if self._models.draining or served is None:
            return
        try:
            shadow = await self._thread.run(self._loader.load_shadow, served, shadow)
        except Exception as error:  # noqa: BLE001 - the unit of work is this shadow
            log.error("shadow refused; the model answers alone", model=name, reason=reason_of(error))
            shadow = None
        self._models.set_shadow(name, shadow)

    def _refuse(self, name: str, former: ServedModel | None, error: Exception) -> ModelRefusedError:
        event, version = "promotion refused; the current version stays", former.version if former else None
        refusal = _refusal(event, error, model=name, in_service=version)
        _, tried = self._loader.loading or (name, None)
        self._refused[name] = IndexRow(name, tried, "UNAVAILABLE", refusal.detail)
        self._metrics.rbm_model_loads_total.labels(name, "refused").inc()
        return refusal


def _refusal(event: str, error: Exception, **fields: object) -> ModelRefusedError:
    """Log that a version was refused, and say why in words for operators."""
    is_known = isinstance(error, BundleError | EngineError | OSError)
    log.error(event, reason=reason_of(error), exc_info=None if is_known else error, **fields)
    return ModelRefusedError(reason_of(error) if is_known else "it could not be loaded; the log says why")
