"""How a version becomes a model that can be served: it is found, verified, self-tested and given a queue.

All of it may take long and happens in whatever thread calls, one version at a time.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from rbm_bundle import Bundle, BundleError, ModelRepository, read_bundle
from rbm_bundle.bundle import read_manifest
from rbm_bundle.repository import CURRENT_FILE, SHADOW_FILE
from rbm_service.errors import ConflictError, UnknownModelError, reason_of
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.batcher import Batcher
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.serving.fingerprint import Fingerprint, fingerprint_of
from rbm_service.serving.model import ServedModel
from rbm_service.serving.registry import shown
from rbm_service.serving.shadow import Shadow
from rbm_service.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version in the repository, and its folder."""

    name: str
    version: int
    folder: Path


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
        raise BundleError(repository.root, "none", "a published model: rbm-models publish BUNDLE --promote")
    if len(names) > 1:
        raise BundleError(repository.root, ", ".join(names), "RBM_MODEL to name one of the models")
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
        raise BundleError(repository.root, f"models {names}", f"a model named {name}")
    version = repository.current(name)
    if version is None:
        raise BundleError(
            repository.root / name,
            f"versions {', '.join(map(str, versions))}, none of them promoted",
            f"a promoted version: rbm-models promote {name} {versions[-1]}",
        )
    return PublishedVersion(name, version, repository.path_of(name, version))


def verify_and_warm(published: PublishedVersion, settings: Settings) -> tuple[Bundle, Engine]:
    """Verify every byte, open the session, warm up, reproduce the golden rows.

    Raises:
        BundleError: the version is not what its manifest says.
        EngineError: it cannot run on the device asked for.
    """
    bundle = read_bundle(published.folder)
    engine = Engine(bundle, settings.device, settings.intra_op_threads, settings.gpu_memory_limit_bytes)
    engine.warm_up(settings.max_batch_rows)
    engine.self_test(bundle)  # after the warm-up: on CUDA it proves the captured graphs
    return bundle, engine


def load_model(published: PublishedVersion, settings: Settings, metrics: Metrics) -> ServedModel:
    """Verify and warm a version, and give it a queue; raises what `verify_and_warm` does."""
    name, version = published.name, published.version
    started = time.perf_counter()
    bundle, engine = verify_and_warm(published, settings)
    manifest = bundle.manifest
    model_metrics = ModelMetrics(
        metrics, name, str(version), manifest.labels, manifest.architecture.num_experts
    )
    batcher = Batcher(
        engine.run,
        InputGatherer(bundle),
        model_metrics,
        max_batch_rows=settings.max_batch_rows,
        max_queued_rows=settings.max_queued_rows,
        runs_inline=not engine.may_wait,
        table=engine.measure(settings.max_batch_rows),
        timeout_seconds=settings.engine_timeout_seconds,
        probe=partial(engine.self_test, bundle),
    )
    engine.report_executions(model_metrics.count_execution)
    model_metrics.load_seconds = seconds = time.perf_counter() - started
    log.info(
        "model loaded",
        model=name,
        version=version,
        bundle_id=manifest.bundle_id[:12],
        provider=engine.provider,
        seconds=round(seconds, 3),
    )
    return ServedModel(name, version, settings.device, bundle, engine, batcher, model_metrics)


class Loader:
    """Decides what has to be loaded, loads it, and remembers what it has seen of the repository.

    A version that was looked at once is not looked at again before the file that names it, or any file of
    the version, changes: what is refused is refused once, and a copy that was half done is tried again.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.repository = ModelRepository(settings.models_dir)
        self.loading: PublishedVersion | None = None  # read by the event loop
        self._settings = settings
        self._metrics = metrics
        self._seen: dict[str, Fingerprint] = {}
        self._seen_shadows: dict[str, Fingerprint] = {}

    def load_news(self, name: str, former: ServedModel | None) -> ServedModel | None:
        """As `load_promoted`, or None where nothing has changed since it was looked at."""
        is_seen = self._fingerprint(name) == self._seen.get(name)
        return None if is_seen else self.load_promoted(name, former)

    def load_promoted(self, name: str, former: ServedModel | None) -> ServedModel:
        """The promoted version: the model in service, where it is that, or a new one.

        Raises:
            UnknownModelError: the repository holds no such model, nor is one in service.
            BundleError, EngineError: no version is promoted, or it does not pass its checks.
        """
        if former is None and not self.repository.versions(name):
            raise UnknownModelError(f"the repository holds no model {shown(name)}")
        self._seen[name] = self._fingerprint(name)  # before the files are read: they may change meanwhile
        return self._load(find_promoted(self._settings.models_dir, name), former)

    def load_and_promote(
        self, name: str, former: ServedModel | None, version: int | None = None
    ) -> ServedModel:
        """A version, the next lower one unless it is named, and make it the promoted one.

        Raises:
            BundleError, EngineError: there is no such version, or it does not pass its checks.
            ConflictError: there is no lower version, or the repository cannot be written.
        """
        if version is None:
            version = self._version_below(name)
        model = self._load(find_version(self._settings.models_dir, name, version), former)
        try:
            self.repository.set_current(name, version)
        except OSError as error:
            if model is not former:
                model.batcher.close()
            raise ConflictError(
                f"the repository cannot be written ({error.strerror}); version {version} was not promoted"
            ) from error
        return model

    def rebuild(self, served: ServedModel) -> ServedModel:
        """Load the version that is in service anew, whatever is promoted; raises what `load_model` does."""
        published = PublishedVersion(served.name, served.version, served.bundle.path)
        return load_model(published, self._settings, self._metrics)

    def load_shadow(self, served: ServedModel, present: Shadow | None) -> Shadow | None:
        """The shadow that is wanted beside the model in service: the present one, another, or none.

        A version is not its own shadow. One that is refused is tried again with the next version in service.

        Raises:
            BundleError, EngineError: it does not pass its checks.
        """
        name, settings = served.name, self._settings
        seen = (fingerprint_of(settings.models_dir / name / SHADOW_FILE), served.version)
        if seen == self._seen_shadows.get(name):
            return present
        self._seen_shadows[name] = seen
        wanted = self.repository.shadow(name)
        if wanted is None or wanted.version == served.version:
            return None
        if present is not None and (present.version, present.share) == (wanted.version, wanted.share):
            return present
        published = find_version(settings.models_dir, name, wanted.version)
        bundle, engine = verify_and_warm(published, settings)
        log.info("shadow loaded", model=name, shadow_version=wanted.version, share=wanted.share)
        return Shadow(
            name, wanted.version, wanted.share, bundle, engine, self._metrics, settings.max_request_rows
        )

    def forget(self, name: str) -> None:
        """Look at this model as if for the first time."""
        self._seen.pop(name, None)
        self._seen_shadows.pop(name, None)

    def _fingerprint(self, name: str) -> Fingerprint:
        return fingerprint_of(self._settings.models_dir / name / CURRENT_FILE)

    def _version_below(self, name: str) -> int:
        try:
            return self.repository.version_below(name)
        except BundleError as error:
            raise ConflictError(reason_of(error)) from error

    def _load(self, published: PublishedVersion, former: ServedModel | None) -> ServedModel:
        self.loading = published
        bundle_id = read_manifest(published.folder).bundle_id
        if former and (former.version, former.bundle.manifest.bundle_id) == (published.version, bundle_id):
            return former
        log.info("loading model", model=published.name, version=published.version)
        return load_model(published, self._settings, self._metrics)
