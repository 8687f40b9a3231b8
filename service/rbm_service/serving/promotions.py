"""What is to be loaded, and when: the steps of a reload that may take long and belong in a thread.

Each gives a model that is to take the place of `former`, or None where nothing has to change.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from rbm_bundle import BundleError, ModelRepository
from rbm_bundle.bundle import read_manifest
from rbm_bundle.manifest import MANIFEST_FILE
from rbm_bundle.repository import CURRENT_FILE, SHADOW_FILE
from rbm_service.errors import ConflictError
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.loader import PublishedVersion, find_promoted, find_version, load_model, load_shadow
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow
from rbm_service.settings import Settings

log = structlog.get_logger(__name__)


class Loader:
    """Loads one version at a time, and remembers what it has seen of the repository.

    What was looked at once is not looked at again before `CURRENT` is written anew or the manifest it leads
    to changes: a version that is refused is refused once.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.repository = ModelRepository(settings.models_dir)
        self.loading: PublishedVersion | None = None  # read by the event loop
        self._settings = settings
        self._metrics = metrics
        self._seen: dict[str, RepositoryFingerprint] = {}
        self._seen_shadow: dict[str, tuple[RepositoryFingerprint, int]] = {}

    def load_promoted(
        self, name: str, former: ServedModel | None, *, again: bool = False
    ) -> ServedModel | None:
        """The promoted version, unless it was seen before or is in service.

        Args:
            again: whether to try what was seen before, and refused perhaps.

        Raises:
            BundleError, EngineError: there is none, or it does not verify_and_warm itself.
        """
        fingerprint = fingerprint_of(self._settings.models_dir / name / CURRENT_FILE)
        if fingerprint == self._seen.get(name) and not again:
            return None
        self._seen[name] = fingerprint
        return self._load_unless_there(find_promoted(self._settings.models_dir, name), former)

    def load_and_promote(self, name: str, former: ServedModel | None, version: int) -> ServedModel | None:
        """A version, once it has proved itself, is the promoted one.

        Raises:
            BundleError, EngineError: there is no such version, or it does not verify_and_warm itself.
            ConflictError: the repository cannot be written.
        """
        model = self._load_unless_there(find_version(self._settings.models_dir, name, version), former)
        try:
            self.repository.set_current(name, version)
        except OSError as error:
            if model is not None:
                model.batcher.close()
            raise ConflictError(
                f"the repository cannot be written ({error.strerror}); version {version} was not promoted"
            ) from error
        return model

    def load_below_and_promote(self, name: str, former: ServedModel | None) -> ServedModel | None:
        """The next lower version than the promoted one; see `load_and_promote`."""
        try:
            version = self.repository.version_below(name)
        except BundleError as error:
            raise ConflictError(str(error)) from error
        return self.load_and_promote(name, former, version)

    def load_shadow(self, name: str, served: ServedModel, present: Shadow | None) -> Shadow | None:
        """The shadow that is wanted beside the model in service: the present one, another, or none.

        A version is not its own shadow. One that is refused is refused once, and tried again with the next
        model in service.

        Raises:
            BundleError, EngineError: it does not verify_and_warm itself.
        """
        fingerprint = (fingerprint_of(self._settings.models_dir / name / SHADOW_FILE), served.version)
        if fingerprint == self._seen_shadow.get(name):
            return present
        self._seen_shadow[name] = fingerprint
        wanted = self.repository.shadow(name)
        if wanted is None or wanted.version == served.version:
            return None
        if present is not None and (present.version, present.share) == (wanted.version, wanted.share):
            return present
        published = find_version(self._settings.models_dir, name, wanted.version)
        return load_shadow(published, wanted.share, self._settings, self._metrics)

    def invalidate(self, name: str) -> None:
        """Look at this model as if for the first time."""
        self._seen.pop(name, None)
        self._seen_shadow.pop(name, None)

    def _load_unless_there(
        self, published: PublishedVersion, former: ServedModel | None
    ) -> ServedModel | None:
        self.loading = published
        bundle_id = read_manifest(published.folder).bundle_id
        if former and (former.version, former.bundle.manifest.bundle_id) == (published.version, bundle_id):
            return None
        return self._load(published)

    def _load(self, published: PublishedVersion) -> ServedModel:
        log.info("loading model", model=published.name, version=published.version)
        self.loading = published
        return load_model(published, self._settings, self._metrics)


@dataclass(frozen=True, slots=True)
class RepositoryFingerprint:
    """A file that names a version, and the manifest of that version."""

    content: bytes | None
    content_time_ns: int | None
    manifest_time_ns: int | None


def fingerprint_of(path: Path) -> RepositoryFingerprint:
    """What `CURRENT` or `SHADOW`, whose first word is a version, looks like at the moment."""
    try:
        with path.open("rb") as file:  # both of one file, were it replaced meanwhile
            content, time_ns = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return RepositoryFingerprint(None, None, None)
    version = content.decode("ascii", "replace").strip().partition(" ")[0]
    manifest = path.parent / version / MANIFEST_FILE
    try:
        return RepositoryFingerprint(
            content, time_ns, manifest.stat().st_mtime_ns if version.isdigit() else None
        )
    except OSError:
        return RepositoryFingerprint(content, time_ns, None)
