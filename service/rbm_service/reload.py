"""How models come into service: the promoted version is found, proves itself, and is followed after that."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from rbm_bundle import BundleError, ModelRepository, read_bundle
from rbm_bundle.bundle import read_manifest
from rbm_bundle.manifest import MANIFEST_FILE
from rbm_bundle.repository import CURRENT_FILE
from rbm_service.batching import Batcher
from rbm_service.engine import Engine
from rbm_service.metrics import Metrics, ModelMetrics
from rbm_service.settings import Settings
from rbm_service.shapes import max_rows, padding
from rbm_service.slot import ModelSlot, ServedModel

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PromotedVersion:
    """The version that `CURRENT` names, and its folder."""

    name: str
    version: int
    folder: Path


def find_promoted(models_dir: Path, name: str | None) -> PromotedVersion:
    """The promoted version of a model, or of the only one there is.

    Raises:
        BundleError: there is no such model, or no promoted version of it.
    """
    repository = ModelRepository(models_dir)
    name = name or _only_model(repository)
    version = _promoted_version(repository, name)
    return PromotedVersion(name, version, repository.path_of(name, version))


def load_model(promoted: PromotedVersion, settings: Settings, metrics: Metrics) -> ServedModel:
    """Verify every byte, open the session, reproduce the golden rows, warm up; in whatever thread.

    Raises:
        BundleError: the version is not what its manifest says.
        EngineError: it cannot run on the device asked for.
    """
    started = time.perf_counter()
    bundle = read_bundle(promoted.folder)
    engine = Engine(bundle, settings.device, settings.intra_op_threads, settings.gpu_memory_limit_bytes)
    engine.warm_up(settings.max_batch_rows)
    engine.self_test(bundle)  # after the warm-up: on CUDA it proves the captured graphs
    manifest, name, version = bundle.manifest, promoted.name, promoted.version
    bound = ModelMetrics(metrics, name, str(version), manifest.labels, manifest.architecture.num_experts)
    batcher = Batcher(
        engine.run,
        bound,
        max_batch_rows=settings.max_batch_rows,
        max_queued_rows=settings.max_queued_rows,
        padding=padding(manifest.features),
        row_limit=partial(max_rows, manifest),
        runs_inline=not engine.may_wait,
        table=engine.measure(settings.max_batch_rows),
        timeout_seconds=settings.engine_timeout_seconds,
        probe=partial(engine.self_test, bundle),
    )
    seconds = time.perf_counter() - started
    metrics.model_loads.labels("loaded").inc()
    metrics.model_load_duration.observe(seconds)
    log.info(
        "model loaded",
        model=name,
        version=version,
        bundle_id=manifest.bundle_id[:12],
        provider=engine.provider,
        seconds=round(seconds, 3),
    )
    return ServedModel(name, version, settings.device, bundle, engine, batcher, bound)


def rebuild_model(served: ServedModel, settings: Settings, metrics: Metrics) -> ServedModel:
    """Load the version that is in service anew; as `load_model`."""
    return load_model(PromotedVersion(served.name, served.version, served.bundle.path), settings, metrics)


class Reloader:
    """Follows the promotions of the model in service.

    Looking and loading happen in a thread, one version at a time; ONNX Runtime leaves the interpreter to the
    event loop while it works. What was looked at once is not looked at again before `CURRENT` is written anew
    or the manifest it leads to changes: a version that is refused is refused once.
    """

    def __init__(self, settings: Settings, metrics: Metrics, slot: ModelSlot) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slot = slot
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-reload")
        self._seen: _Sight | None = None

    async def follow(self) -> None:
        """Look, every so often, until the service begins to drain."""
        while True:
            await asyncio.sleep(self._settings.reload_poll_seconds)
            if self._slot.draining:
                return
            await self.look()

    async def look(self) -> None:
        """Put the promoted version in service if it is another than the one that is there, and sound."""
        served = self._slot.current()
        loop = asyncio.get_running_loop()
        model = await loop.run_in_executor(self._thread, self._load_if_new, served)
        if model is not None:
            self._slot.swap(model)

    def close(self) -> None:
        """Look no more; a version that is being loaded is let go when it is done."""
        self._thread.shutdown(wait=False)

    def _load_if_new(self, served: ServedModel) -> ServedModel | None:
        sight = _sight_of(self._settings.models_dir / served.name)
        if sight == self._seen:
            return None
        self._seen = sight
        try:
            promoted = find_promoted(self._settings.models_dir, served.name)
            bundle_id = read_manifest(promoted.folder).bundle_id
            if (promoted.version, bundle_id) == (served.version, served.bundle.manifest.bundle_id):
                return None
            log.info("loading model", model=promoted.name, version=promoted.version)
            return load_model(promoted, self._settings, self._metrics)
        except Exception as error:  # noqa: BLE001 - the unit of work is this promotion
            self._metrics.model_loads.labels("refused").inc()
            log.error("promotion refused, the old model stays", in_service=served.version, reason=str(error))
            return None


@dataclass(frozen=True, slots=True)
class _Sight:
    """What tells at a glance that something changed: `CURRENT`, and the manifest of the version it names."""

    current: bytes | None
    current_time_ns: int | None
    manifest_time_ns: int | None


def _sight_of(model_folder: Path) -> _Sight:
    try:
        with (model_folder / CURRENT_FILE).open("rb") as file:  # both of one file, were it replaced meanwhile
            current, time_ns = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return _Sight(None, None, None)
    version = current.decode("ascii", "replace").strip()
    manifest = model_folder / version / MANIFEST_FILE
    try:
        return _Sight(current, time_ns, manifest.stat().st_mtime_ns if version.isdigit() else None)
    except OSError:
        return _Sight(current, time_ns, None)


def _only_model(repository: ModelRepository) -> str:
    names = repository.names()
    if not names:
        raise BundleError(repository.root, "no model", "a published one: rbm-models publish BUNDLE --promote")
    if len(names) > 1:
        raise BundleError(repository.root, f"models {', '.join(names)}", "RBM_MODEL to name one of them")
    return names[0]


def _promoted_version(repository: ModelRepository, name: str) -> int:
    versions = repository.versions(name)
    if not versions:
        names = ", ".join(repository.names()) or "none"
        raise BundleError(repository.root, f"models: {names}", f"a model named {name}")
    version = repository.current(name)
    if version is None:
        raise BundleError(
            repository.root / name,
            f"versions {', '.join(map(str, versions))}, none of them promoted",
            f"a promoted one: rbm-models promote {name} {versions[-1]}",
        )
    return version
