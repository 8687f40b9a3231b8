"""What a stage leaves: arrays and a few facts, on disk under a digest of all that they depend on.

A stage whose artifact is there is not run again. An artifact is a folder, written aside and renamed into
place, so that a process that is killed leaves it whole or not at all.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.folders import incoming_folder, naming, sync_folder, write_synced
from rbm_bundle.version import package_version

Arrays = Mapping[str, npt.NDArray[Any]]
Facts = Mapping[str, Any]

FACTS_FILE: Final = "artifact.json"
# The stages of a run, in order, and the version of the code of each: raised when its numbers change.
STAGES: Final = {
    "graph": 1,
    "baseline": 1,
    "encodings": 1,
    "teacher": 1,
    "student": 2,
    "evaluation": 2,
    "bundle": 1,
    "report": 2,
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a stage made. Arrays that were read from disk are mapped, and so read-only."""

    arrays: Arrays = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)


class ArtifactStore:
    """Artifacts by their stage and by what they depend on: any difference in that is another artifact.

    Args:
        remade: stages whose artifacts are made anew, once each, even if they are there.
    """

    def __init__(self, folder: Path, remade: Collection[str] = ()) -> None:
        self._folder = folder
        self._remade = frozenset(remade)
        self._made: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, stage: str, cache_key: Mapping[str, Any], make: Callable[[], Artifact]) -> Artifact:
        """Return the artifact of a stage, from disk when it is there.

        Args:
            cache_key: what it depends on, as JSON has it; the version of the code comes on top.

        Raises:
            OSError: it cannot be written; names the path.
        """
        found = self.find(stage, cache_key)
        if found is not None:
            return found
        path, text = self._place(stage, cache_key)
        made = make()
        shutil.rmtree(path, ignore_errors=True)
        with naming(path), incoming_folder(self._folder) as folder:
            _write(folder, made, text)
            folder.rename(path)
            sync_folder(self._folder)
        _checkpoint_of(path).unlink(missing_ok=True)
        self._made.add(path)
        return made

    def find(self, stage: str, cache_key: Mapping[str, Any]) -> Artifact | None:
        """Return an artifact that is there, whole, and not to be made anew, or None."""
        path, _ = self._place(stage, cache_key)
        if not path.is_dir() or (stage in self._remade and path not in self._made):
            return None
        return _read(path)

    def discard(self, stage: str, cache_key: Mapping[str, Any]) -> None:
        """Forget an artifact, whatever it described is not there any more."""
        shutil.rmtree(self._place(stage, cache_key)[0], ignore_errors=True)

    def checkpoint_file(self, stage: str, cache_key: Mapping[str, Any]) -> Path:
        """Return where a stage may keep how far it has got; the file goes once the artifact is there."""
        return _checkpoint_of(self._place(stage, cache_key)[0])

    def _place(self, stage: str, cache_key: Mapping[str, Any]) -> tuple[Path, str]:
        code = {"package": package_version(), **_versions_up_to(stage)}
        text = json.dumps({"code": code, **cache_key}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self._folder / f"{stage}-{digest[:32]}", text


def _checkpoint_of(artifact: Path) -> Path:
    return artifact.with_name(f"{artifact.name}.checkpoint")


def _versions_up_to(stage: str) -> dict[str, int]:
    """The versions of a stage and of those before it, of whose artifacts it is made."""
    names = list(STAGES)
    return {name: STAGES[name] for name in names[: names.index(stage) + 1]}


def _read(folder: Path) -> Artifact | None:
    """The artifact in a folder, or None where something of it is missing or was changed."""
    try:
        document = json.loads((folder / FACTS_FILE).read_bytes())
        for name, digest in document["arrays"].items():
            if _sha256(folder / name) != digest:
                return None
        arrays = {Path(name).stem: np.load(folder / name, mmap_mode="r") for name in document["arrays"]}
        return Artifact(arrays, document["facts"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write(folder: Path, made: Artifact, cache_key: str) -> None:
    for name, array in made.arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, np.ascontiguousarray(array))
    digests = {file.name: _sha256(file) for file in sorted(folder.glob("*.npy"))}
    facts = {"depends_on": json.loads(cache_key), "arrays": digests, "facts": dict(made.facts)}
    write_synced(folder / FACTS_FILE, json.dumps(facts).encode())
