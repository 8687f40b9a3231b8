"""The model repository: `<root>/<name>/<version>/`, one `CURRENT` file a name, and perhaps a `SHADOW`.

Readers and writers need no lock. A version is a folder renamed into place after it was copied, synced and
verified; `CURRENT` and `SHADOW` are the only files that ever change, and they are replaced by rename.
"""

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from rbm_bundle.bundle import Bundle, read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.folders import copy_synced, incoming_folder, read_small_file, replace_file, sync_folder
from rbm_bundle.manifest import NAME_PATTERN

CURRENT_FILE = "CURRENT"
SHADOW_FILE = "SHADOW"
MAX_TEXT_BYTES = 2**16  # of either
_NAME = re.compile(NAME_PATTERN)
_VERSION = re.compile(r"[1-9][0-9]*")
_SHARE = re.compile(r"[0-9]*\.?[0-9]+(e-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class ShadowSpec:
    """A version that answers a share of the requests once more, for comparison: over 0 and up to 1."""

    version: int
    share: float


class ModelRepository:
    """Versions of models under one folder.

    Folders that start with a dot, are no integer or have leading zeros do not exist for a reader.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Names of the models that have at least one version, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if self.versions(entry.name))

    def versions(self, name: str) -> list[int]:
        """Published versions of a model, rising; empty for an unknown name."""
        folder = self.root / name
        if not _NAME.fullmatch(name) or not folder.is_dir():
            return []
        entries = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
        return sorted(int(entry.name) for entry in entries if _VERSION.fullmatch(entry.name))

    def current(self, name: str) -> int | None:
        """The promoted version, or None when there is none.

        Raises:
            BundleError: `CURRENT` holds no version, or one that is not there.
        """
        path = self.root / name / CURRENT_FILE
        text = _text_of(path)
        if text is None:
            return None
        versions = self.versions(name)
        if text not in map(str, versions):
            raise BundleError(path, repr(text[:100]), f"one of the versions {versions}")
        return int(text)

    def promoted(self, name: str) -> int:
        """The promoted version, which there must be.

        Raises:
            BundleError: there is no such model, or no promoted version of it.
        """
        versions = self.versions(name)
        if not versions:
            raise BundleError(
                self.root, f"models {', '.join(self.names()) or 'none'}", f"a model named {name}"
            )
        version = self.current(name)
        if version is None:
            raise BundleError(
                self.root / name,
                f"versions {', '.join(map(str, versions))}, none of them promoted",
                f"a promoted version: rbm-models promote {name} {versions[-1]}",
            )
        return version

    def shadow(self, name: str) -> ShadowSpec | None:
        """The version that answers beside the promoted one, or None when there is none.

        Raises:
            BundleError: `SHADOW` holds no version and share, or a version that is not there.
        """
        path = self.root / name / SHADOW_FILE
        text = _text_of(path)
        if text is None:
            return None
        version, _, share = text.partition(" ")
        versions = self.versions(name)
        if version not in map(str, versions) or not _SHARE.fullmatch(share) or not 0 < float(share) <= 1:
            raise BundleError(path, repr(text[:100]), f"one of the versions {versions} and a share up to 1")
        return ShadowSpec(int(version), float(share))

    def path_of(self, name: str, version: int) -> Path:
        """Folder of a published version.

        Raises:
            BundleError: there is no such version.
        """
        if version not in self.versions(name):
            have = ", ".join(map(str, self.versions(name))) or "none"
            raise BundleError(self.root / name, f"versions {have}", f"version {version}")
        return self.root / name / str(version)

    def fingerprint(self, name: str, pointer: str) -> list[object]:
        """What `CURRENT` or `SHADOW`, whose first word is a version, and all files of that version look like.

        Two are equal while nothing changes. What cannot be read has a fingerprint, too.
        """
        path, seen = self.root / name / pointer, list[object]()
        try:
            content = read_small_file(path, MAX_TEXT_BYTES)
            seen += [content, _stamp(path.stat())]
            version = content.decode("ascii", "replace").strip().partition(" ")[0]
            if version.isdigit():
                with os.scandir(path.with_name(version)) as entries:
                    seen += sorted(
                        (entry.name, _stamp(entry.stat(follow_symlinks=False))) for entry in entries
                    )
        except OSError as error:
            seen.append(error.errno)
        return seen

    def publish(self, bundle_folder: Path, name: str | None = None) -> int:
        """Copy a bundle in as the next version and return it; a failed or killed copy leaves no version.

        Raises:
            BundleError: the bundle does not verify, or the name is not one.
        """
        bundle = read_bundle(bundle_folder)
        name = name or bundle.manifest.name
        if not _NAME.fullmatch(name):
            raise BundleError(self.root, f"model name {name!r}", "letters, digits, '.', '_' and '-'")
        folder = self.root / name
        with incoming_folder(folder) as incoming:
            _copy(bundle, incoming)
            version = self._claim(name, incoming)
        sync_folder(folder)
        return version

    def promote(self, name: str, version: int) -> None:
        """Make a version the one that is served, after verifying it.

        Raises:
            BundleError: there is no such version, or it does not verify.
        """
        read_bundle(self.path_of(name, version))
        self.set_current(name, version)

    def set_current(self, name: str, version: int) -> None:
        """Make a version the one that is served; for whoever has just verified it."""
        replace_file(self.root / name / CURRENT_FILE, f"{version}\n".encode())

    def rollback(self, name: str) -> int:
        """Promote the next lower version and return it.

        Raises:
            BundleError: nothing is promoted, or nothing lower exists.
        """
        version = self.version_below(name)
        self.promote(name, version)
        return version

    def version_below(self, name: str) -> int:
        """The version that a rollback promotes.

        Raises:
            BundleError: nothing is promoted, or nothing lower exists.
        """
        current = self.current(name)
        lower = [version for version in self.versions(name) if current is not None and version < current]
        if not lower:
            raise BundleError(
                self.root / name,
                f"current version {current}, versions {self.versions(name)}",
                "a lower version",
            )
        return lower[-1]

    def set_shadow(self, name: str, shadow: ShadowSpec) -> None:
        """Let a version answer a share of the requests beside the promoted one, after verifying it.

        Raises:
            BundleError: there is no such version, it does not verify, or the share is none.
        """
        path = self.root / name / SHADOW_FILE
        if not 0 < shadow.share <= 1:
            raise BundleError(path, f"share {shadow.share}", "a share over 0 and up to 1")
        read_bundle(self.path_of(name, shadow.version))
        self.write_shadow(name, shadow)

    def write_shadow(self, name: str, shadow: ShadowSpec) -> None:
        """Let a version answer beside the promoted one; for whoever has just verified it."""
        replace_file(self.root / name / SHADOW_FILE, f"{shadow.version} {shadow.share}\n".encode())

    def clear_shadow(self, name: str) -> None:
        """Let no version answer beside the promoted one."""
        (self.root / name / SHADOW_FILE).unlink(missing_ok=True)

    def _claim(self, name: str, incoming: Path) -> int:
        version = max(self.versions(name), default=0) + 1
        while True:
            try:
                incoming.rename(self.root / name / str(version))
            except OSError as error:  # another publisher took this number
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                version += 1
            else:
                return version


def _text_of(path: Path) -> str | None:
    """What a small file says, or None when there is no such file."""
    try:
        return read_small_file(path, MAX_TEXT_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(path, f"nothing readable ({error.strerror})", "a version") from error


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """The second time is that of the inode: it also tells of other rights and of a time that was set back."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _copy(bundle: Bundle, incoming: Path) -> None:
    for entry in sorted(bundle.path.iterdir()):
        copy_synced(entry, incoming / entry.name)
    sync_folder(incoming)
    copied = read_bundle(incoming).manifest.bundle_id
    if copied != bundle.manifest.bundle_id:
        raise BundleError(bundle.path, "another bundle than at the start of the copy", "a folder left alone")
