"""What the manager says of changes: what one of them did, how models are, which versions there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from rbm_bundle import BundleError, Manifest, ModelRepository, ShadowSpec
from rbm_bundle.bundle import read_manifest
from rbm_bundle.comparison import notes_on
from rbm_service.errors import UnknownModelError, reason_of, shortened
from rbm_service.serving.model import ServedModel

State = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """The version of a model that is in service now, and the one that was before: none, another, the same.

    Attributes:
        notes: what callers notice of the change, a line each.
    """

    name: str
    version: int
    former_version: int | None
    notes: list[str]


@dataclass(frozen=True, slots=True)
class IndexRow:
    """The state of a model of the repository; it has no version where none was tried."""

    name: str
    version: int | None
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Versions:
    """What the repository holds of a model.

    Attributes:
        current, shadow: as `CURRENT` and `SHADOW` say, None where they say nothing that can be read.
        manifests: of each version, the newest first; in its place, what is wrong with it.
        problems: what is wrong with `CURRENT` and `SHADOW`.
    """

    current: int | None
    shadow: ShadowSpec | None
    manifests: Mapping[int, Manifest | str]
    problems: list[str]


def change_of(former: ServedModel | None, model: ServedModel) -> Change:
    """What happened where a model took the place of the one before it, or is that one."""
    if former is None or former is model:
        return Change(model.name, model.version, former.version if former else None, [])
    notes = notes_on(model.bundle.manifest, former.bundle.manifest, former.version)
    return Change(model.name, model.version, former.version, notes)


def versions_of(repository: ModelRepository, name: str) -> Versions:
    """Read what the repository holds of a model, of each version the manifest alone.

    Raises:
        UnknownModelError: it holds no such model.
    """
    versions = repository.versions(name)
    if not versions:
        raise UnknownModelError(f"the repository holds no model {shortened(name)}")
    problems: list[str] = []

    def read(pointer: Callable[[str], T]) -> T | None:
        try:
            return pointer(name)
        except BundleError as error:
            problems.append(reason_of(error))
            return None

    current, shadow, folder = read(repository.current), read(repository.shadow), repository.root / name
    manifests = {version: _manifest_in(folder / str(version)) for version in reversed(versions)}
    return Versions(current, shadow, manifests, problems)


def _manifest_in(folder: Path) -> Manifest | str:
    try:
        return read_manifest(folder)
    except BundleError as error:
        return reason_of(error)
