"""What files of the repository look like: a refused version is tried again as soon as that changes."""

import os
from pathlib import Path
from typing import Final

MAX_POINTER_BYTES: Final = 4096  # a version and a share take a few

Fingerprint = tuple[object, ...]


def fingerprint_of(pointer: Path) -> Fingerprint:
    """What `CURRENT` or `SHADOW`, whose first word is a version, and all files of that version look like now.

    Two are equal while nothing changes. What cannot be read is a fingerprint, too.
    """
    try:
        with pointer.open("rb") as file:  # both of one file, were it replaced meanwhile
            content, stamp = file.read(MAX_POINTER_BYTES), _stamp(os.fstat(file.fileno()))
    except OSError as error:
        return (error.errno,)
    version = content.decode("ascii", "replace").strip().partition(" ")[0]
    return (content, stamp, _files_in(pointer.parent / version) if version.isdigit() else None)


def _files_in(folder: Path) -> Fingerprint:
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted((entry.name, _stamp(entry.stat(follow_symlinks=False))) for entry in entries))
    except OSError as error:
        return (error.errno,)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """The second time is that of the inode: it also tells of other rights and of a time that was set back."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
