"""How a version becomes a model that can be served: it is found, proves itself, and gets a queue.

All of it may happen in any thread, one version at a time.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from rbm_bundle import Bundle, BundleError, ModelRepository, read_bundle
from rbm_service.inference.batcher import Batcher
from rbm_service.inference.preprocessing import look_up
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.runtime.shapes import max_rows, padding
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow
from rbm_service.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version in the repository, and its folder."""

    name: str
    version: int
    folder: Path


@dataclass(frozen=True, slots=True)
class VerifiedVersion:
    """A version whose every byte was verified, and an engine that reproduced its golden rows and is warm."""

    bundle: Bundle
    engine: Engine


def names_to_serve(settings: Settings) -> tuple[str, ...]:
    """The models that are named, or the only one there is.

    Raises:
        BundleError: none is named, and there is not exactly one.
    """
    if settings.model_names:
        return settings.model_names
    repository = ModelRepository(settings.models_dir)
    names = repository.names()
    if not names:
        raise BundleError(repository.root, "no model", "a published one: rbm-models publish BUNDLE --promote")
    if len(names) > 1:
        raise BundleError(repository.root, f"models {', '.join(names)}", "RBM_MODEL to name one of them")
    return (names[0],)


def find_version(models_dir: Path, name: str, version: int) -> PublishedVersion:
    """A version of a model.

    Raises:
        BundleError: there is no such version.
    """
    return PublishedVersion(name, version, ModelRepository(models_dir).path_of(name, version))


def find_promoted(models_dir: Path, name: str) -> PublishedVersion:
    """The promoted version of a model.

    Raises:
        BundleError: there is no such model, or no promoted version of it.
    """
    repository = ModelRepository(models_dir)
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
    return PublishedVersion(name, version, repository.path_of(name, version))


def verify_and_warm(published: PublishedVersion, settings: Settings) -> VerifiedVersion:
    """Verify every byte, open the session, warm up, reproduce the golden rows.

    Raises:
        BundleError: the version is not what its manifest says.
        EngineError: it cannot run on the device asked for.
    """
    bundle = read_bundle(published.folder)
    engine = Engine(bundle, settings.device, settings.intra_op_threads, settings.gpu_memory_limit_bytes)
    engine.warm_up(settings.max_batch_rows)
    engine.self_test(bundle)  # after the warm-up: on CUDA it proves the captured graphs
    return VerifiedVersion(bundle, engine)


def load_model(published: PublishedVersion, settings: Settings, metrics: Metrics) -> ServedModel:
    """Prove a version and give it a queue; see `verify_and_warm` for what it raises."""
    name, version = published.name, published.version
    started = time.perf_counter()
    verified = verify_and_warm(published, settings)
    manifest, engine = verified.bundle.manifest, verified.engine
    bound = ModelMetrics(metrics, name, str(version), manifest.labels, manifest.architecture.num_experts)
    batcher = Batcher(
        engine.run,
        partial(look_up, verified.bundle),
        bound,
        max_batch_rows=settings.max_batch_rows,
        max_queued_rows=settings.max_queued_rows,
        padding=padding(manifest.features),
        row_limit=partial(max_rows, manifest),
        runs_inline=not engine.may_wait,
        table=engine.measure(settings.max_batch_rows),
        timeout_seconds=settings.engine_timeout_seconds,
        probe=partial(engine.self_test, verified.bundle),
    )
    seconds = time.perf_counter() - started
    metrics.model_load_duration.labels(name).observe(seconds)
    log.info(
        "model loaded",
        model=name,
        version=version,
        bundle_id=manifest.bundle_id[:12],
        provider=engine.provider,
        seconds=round(seconds, 3),
    )
    return ServedModel(name, version, settings.device, verified.bundle, engine, batcher, bound)


def rebuild_model(served: ServedModel, settings: Settings, metrics: Metrics) -> ServedModel:
    """Load the version that is in service anew; as `load_model`."""
    return load_model(PublishedVersion(served.name, served.version, served.bundle.path), settings, metrics)


def load_shadow(published: PublishedVersion, share: float, settings: Settings, metrics: Metrics) -> Shadow:
    """Prove a version and let it follow; see `verify_and_warm` for what it raises."""
    verified = verify_and_warm(published, settings)
    log.info("shadow loaded", model=published.name, shadow_version=published.version, share=share)
    return Shadow(
        published.name,
        published.version,
        share,
        verified.bundle,
        verified.engine,
        metrics,
        settings.max_request_rows,
    )
