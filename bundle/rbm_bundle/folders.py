"""Folders that appear whole or not at all: written aside, synced, then renamed into place."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

INCOMING_PREFIX = ".incoming-"


@contextmanager
def incoming_folder(parent: Path) -> Iterator[Path]:
    """A fresh folder beside its destination, removed unless it was renamed away."""
    _make_synced(parent)
    folder = parent / f"{INCOMING_PREFIX}{uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_synced(folder: Path) -> None:
    """Make a folder and those above it; a new one is on disk before anything is put into it."""
    if folder.is_dir():
        return
    _make_synced(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def read_small_file(path: Path, max_bytes: int) -> bytes:
    """Read a file whole.

    Raises:
        OSError: it is no plain file (a pipe would be waited for), is too long, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", str(path))
    return content


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of writing, as of a full disk, say where: the system does not."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # as numpy's, whose text alone says what happened
            raise OSError(f"{path}: {error}") from error
        error.filename = error.filename or str(path)
        raise


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with naming(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def copy_synced(source: Path, target: Path) -> None:
    """Copy a file and wait until the disk has it."""
    with naming(target), source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's entries."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file so that a reader sees the old bytes or the new ones, never a mixture."""
    temporary = path.with_name(f"{INCOMING_PREFIX}{uuid4().hex}")
    try:
        write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
