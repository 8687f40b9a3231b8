"""How a version becomes a model that can be served: it is found, verified, self-tested and given a queue.

All of it may take long and happens in whatever thread calls, one version at a time.
"""

import time
from collections.abc import Callable
from functools import partial

import structlog

from rbm_bundle import Bundle, BundleError, ModelRepository, ShadowSpec, read_bundle
from rbm_bundle.bundle import read_manifest
from rbm_bundle.repository import CURRENT_FILE, SHADOW_FILE
from rbm_service.errors import ConflictError, UnknownModelError, reason_of, shortened
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.batcher import Batcher
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow
from rbm_service.settings import Settings

log = structlog.get_logger(__name__)


class Loader:
    """Decides what has to be loaded, loads it, and remembers what it has seen of the repository.

    A version that was looked at once is not looked at again before the file that names it, or any file of
    the version, changes: what is refused is refused once, and a copy that was half done is tried again.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.repository = ModelRepository(settings.models_dir)
        self.loading: tuple[str, int] | None = None  # name and version; read by the event loop
        self._settings = settings
        self._metrics = metrics
        self._seen: dict[tuple[str, str], list[object]] = {}  # by model, and file that names a version

    def names_to_serve(self) -> tuple[str, ...]:
        """The models that are named, or the only one there is.

        Raises:
            BundleError: there is no repository; none is named, and there is not exactly one.
        """
        root, named = self.repository.root, self._settings.model_names
        if not root.is_dir():
            raise BundleError(root, "none", "a folder of models (RBM_MODELS_DIR)")
        names = named or tuple(self.repository.names())
        if not names:
            raise BundleError(root, "none", "a published model: rbm-models publish BUNDLE --promote")
        if len(names) > 1 and not named:
            raise BundleError(root, ", ".join(names), "RBM_MODEL to name one of the models")
        return names

    def promoted_version(self, name: str) -> int:
        """The promoted version of a model, looked at from now on; raises what the repository does."""
        self.has_news(name)  # before anything is read: it may change meanwhile
        return self.repository.promoted(name)

    def load(self, name: str, version: int) -> ServedModel:
        """Verify and warm a version, and give it a queue.

        Raises:
            BundleError: there is no such version, or it is not what its manifest says.
            EngineError: it cannot run on the device asked for.
        """
        started, settings = time.perf_counter(), self._settings
        bundle, engine = self._verify_and_warm(name, version)
        manifest = bundle.manifest
        metrics = ModelMetrics(
            self._metrics, name, str(version), manifest.labels, manifest.architecture.num_experts
        )
        batcher = Batcher(
            engine.run,
            InputGatherer(bundle),
            metrics,
            max_batch_rows=settings.max_batch_rows,
            max_queued_rows=settings.max_queued_rows,
            runs_inline=not engine.may_wait,
            table=engine.measure(settings.max_batch_rows),
            timeout_seconds=settings.engine_timeout_seconds,
            probe=partial(engine.self_test, bundle),
        )
        engine.runner.on_execution = metrics.count_execution
        metrics.load_seconds = seconds = time.perf_counter() - started
        log.info(
            "model loaded",
            model=name,
            version=version,
            bundle_id=manifest.bundle_id[:12],
            provider=engine.provider,
            seconds=round(seconds, 3),
        )
        return ServedModel(name, version, settings.device, bundle, engine, batcher, metrics)

    def has_news(self, name: str, pointer: str = CURRENT_FILE, *context: object) -> bool:
        """Look at a file that names a version, and say whether anything has changed since the last look.

        Args:
            context: what else the next step depends on.
        """
        now = [*self.repository.fingerprint(name, pointer), *context]
        before, self._seen[name, pointer] = self._seen.get((name, pointer)), now
        return now != before

    def lower_version(self, name: str) -> int:
        """The next lower version than the promoted one.

        Raises:
            ConflictError: there is none.
        """
        try:
            return self.repository.version_below(name)
        except BundleError as error:
            raise ConflictError(reason_of(error)) from error

    def load_chosen(
        self, name: str, former: ServedModel | None, choose: Callable[[str], int], promotes: bool
    ) -> ServedModel:
        """The version of a model that is chosen: the model in service, where it is that, or a new one.

        Args:
            promotes: whether it becomes the promoted version, once it has passed its checks.

        Raises:
            UnknownModelError: the repository holds no such model, nor is one in service.
            BundleError, EngineError: there is no such version, or it does not pass its checks.
            ConflictError: there is none to choose, or the repository cannot be written.
        """
        if former is None and not self.repository.versions(name):
            raise UnknownModelError(f"the repository holds no model {shortened(name)}")
        version = choose(name)
        folder = self.repository.path_of(name, version)
        self.loading = (name, version)
        bundle_id = read_manifest(folder).bundle_id
        if former and (former.version, former.bundle.manifest.bundle_id) == (version, bundle_id):
            model = former
        else:
            log.info("loading model", model=name, version=version)
            model = self.load(name, version)
        if promotes:
            try:
                self.repository.set_current(name, version)
            except OSError as error:
                if model is not former:
                    model.batcher.close()
                why = f"the repository cannot be written ({error.strerror})"
                raise ConflictError(f"{why}; version {version} was not promoted") from error
        return model

    def load_shadow(self, served: ServedModel, present: Shadow | None) -> Shadow | None:
        """The shadow that is wanted beside the model in service: the present one, another, or none.

        A version is not its own shadow. One that is refused is tried again with the next version in service.

        Raises:
            BundleError, EngineError: it does not pass its checks.
        """
        name = served.name
        if not self.has_news(name, SHADOW_FILE, served.version):
            return present
        wanted = self.repository.shadow(name)
        if wanted is None or wanted.version == served.version:
            return None
        return self._shadow_of(name, wanted, present)

    def set_shadow(
        self, served: ServedModel, present: Shadow | None, wanted: ShadowSpec | None
    ) -> Shadow | None:
        """The shadow that is wanted from now on, or none; `SHADOW` says so once it has passed its checks.

        Raises:
            BundleError, EngineError: there is no such version, or it does not pass its checks.
            ConflictError: it is the version in service, or the repository cannot be written.
        """
        name = served.name
        if wanted is not None and wanted.version == served.version:
            raise ConflictError(
                f"version {wanted.version} is the one in service: expected another to compare"
            )
        shadow = None if wanted is None else self._shadow_of(name, wanted, present)
        try:
            if wanted is None:
                self.repository.clear_shadow(name)
            else:
                self.repository.write_shadow(name, wanted)
        except OSError as error:
            why = f"the repository cannot be written ({error.strerror})"
            raise ConflictError(f"{why}; the shadow was not changed") from error
        return shadow

    def forget(self, name: str) -> None:
        """Look at the shadow of this model as if for the first time, when the model is loaded again."""
        self._seen.pop((name, SHADOW_FILE), None)

    def _shadow_of(self, name: str, wanted: ShadowSpec, present: Shadow | None) -> Shadow:
        """The present shadow, where it is the one that is wanted, or a new one; raises as `load_shadow`."""
        if present is not None and present.spec == wanted:
            return present
        bundle, engine = self._verify_and_warm(name, wanted.version)
        log.info("shadow loaded", model=name, shadow_version=wanted.version, share=wanted.share)
        return Shadow(name, wanted, bundle, engine, self._metrics, self._settings.max_request_rows)

    def _verify_and_warm(self, name: str, version: int) -> tuple[Bundle, Engine]:
        """Verify every byte, open the session, warm up, reproduce the golden rows; raises as `load`."""
        bundle, settings = read_bundle(self.repository.path_of(name, version)), self._settings
        engine = Engine(bundle, settings.device, settings.intra_op_threads, settings.gpu_memory_limit_bytes)
        engine.warm_up(settings.max_batch_rows)
        engine.self_test(bundle)  # after the warm-up: on CUDA it proves the captured graphs
        return bundle, engine
