"""What a process may find for its stderr: nobody reads it, nobody can, or it is not there at all."""

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def never_read() -> Iterator[BinaryIO]:
    """A pipe that is open and that nobody reads."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb"), os.fdopen(write_end, "wb") as stderr:
        yield stderr


@contextlib.contextmanager
def never_read_and_never_blocking() -> Iterator[BinaryIO]:
    with never_read() as stderr:
        os.set_blocking(stderr.fileno(), False)
        yield stderr


@contextlib.contextmanager
def full_pipe() -> Iterator[BinaryIO]:
    """A pipe that takes no further byte, and that nobody reads."""
    with never_read_and_never_blocking() as stderr:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(stderr.fileno(), bytes(select.PIPE_BUF))
        os.set_blocking(stderr.fileno(), True)
        yield stderr


@contextlib.contextmanager
def reader_gone() -> Iterator[BinaryIO]:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as stderr:
        yield stderr


def full_disk() -> BinaryIO:
    return Path("/dev/full").open("wb")


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """No stderr at all, as after `2>&-`."""
    yield None
