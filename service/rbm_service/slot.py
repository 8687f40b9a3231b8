"""The model in service: how it is loaded, and where requests find it."""

from dataclasses import dataclass

import structlog

from rbm_bundle import Bundle, BundleError, ModelRepository, read_bundle
from rbm_bundle.manifest import Provider
from rbm_service.batching import Batcher
from rbm_service.engine import Engine
from rbm_service.errors import WarmingError
from rbm_service.inputs import feature_padding
from rbm_service.metrics import Metrics, ModelMetrics
from rbm_service.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that has proved itself: verified, self-tested and warm."""

    name: str
    version: int
    device: Provider
    bundle: Bundle
    engine: Engine
    batcher: Batcher
    metrics: ModelMetrics


class ModelSlot:
    """Holds the model in service, or none."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._model: ServedModel | None = None

    def current(self) -> ServedModel:
        """The model in service.

        Raises:
            WarmingError: there is none.
        """
        if self._model is None:
            raise WarmingError
        return self._model

    def put(self, model: ServedModel) -> None:
        """Put a model in service."""
        self._model = model
        self._metrics.model_info.labels(
            model.name,
            model.version,
            model.bundle.manifest.bundle_id[:12],
            model.device,
            model.engine.provider,
            model.engine.runtime_version,
        ).set(1)
        self._metrics.model_ready.set(1)

    def close(self) -> None:
        """Take the model out of service and stop its engine thread."""
        self._metrics.model_ready.set(0)
        if self._model is not None:
            self._model.batcher.close()
            self._model = None


def load_model(settings: Settings, metrics: Metrics) -> ServedModel:
    """Load the promoted version: verify every byte, open the session, reproduce the golden rows, warm up.

    Raises:
        BundleError: there is no promoted version, or it is not what its manifest says.
        EngineError: it cannot run on the device asked for.
    """
    repository = ModelRepository(settings.models_dir)
    name = settings.model or _only_model(repository)
    version = _promoted_version(repository, name)
    bundle = read_bundle(repository.path_of(name, version))
    engine = Engine(bundle, settings.device, settings.intra_op_threads, settings.gpu_memory_limit_bytes)
    engine.self_test(bundle)
    engine.warm_up(settings.max_batch_rows)
    manifest = bundle.manifest
    bound = ModelMetrics(metrics, name, str(version), manifest.labels, manifest.architecture.num_experts)
    batcher = Batcher(
        engine.run,
        bound,
        max_batch_rows=settings.max_batch_rows,
        max_queued_rows=settings.max_queued_rows,
        padding=feature_padding(manifest.features),
    )
    log.info(
        "model loaded",
        model=name,
        version=version,
        bundle_id=manifest.bundle_id[:12],
        provider=engine.provider,
    )
    return ServedModel(name, version, settings.device, bundle, engine, batcher, bound)


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
