"""A glance at the repository, that tells whether anything has changed since the one before."""

import os
from dataclasses import dataclass
from pathlib import Path

from rbm_bundle.manifest import MANIFEST_FILE


@dataclass(frozen=True, slots=True)
class Sight:
    """A file that names a version, and the manifest of that version."""

    content: bytes | None
    content_time_ns: int | None
    manifest_time_ns: int | None


def sight_of(path: Path) -> Sight:
    """What `CURRENT` or `SHADOW`, whose first word is a version, looks like at the moment."""
    try:
        with path.open("rb") as file:  # both of one file, were it replaced meanwhile
            content, time_ns = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return Sight(None, None, None)
    version = content.decode("ascii", "replace").strip().partition(" ")[0]
    manifest = path.parent / version / MANIFEST_FILE
    try:
        return Sight(content, time_ns, manifest.stat().st_mtime_ns if version.isdigit() else None)
    except OSError:
        return Sight(content, time_ns, None)
