"""Why a file could not be read: its first bytes tell what it holds, and its text in which encoding it is."""

from pathlib import Path
from typing import Final

from rbm_training.data.graph import GraphError

_FIRST_BYTES: Final = {
    b"\x1f\x8b": "packed with gzip",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "Parquet",
    b"\x93NUMPY": "an array of NumPy",
}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_MOST_BYTES: Final = 8


def unreadable(path: Path, kind: str, wanted: str, reason: str, own: tuple[bytes, ...] = ()) -> GraphError:
    """The error of a file that is not of its kind.

    Args:
        reason: what the reader says.
        own: how files of the kind begin, where they all begin alike.
    """
    first = _first_bytes(path)
    if not first:
        found = "an empty file"
    elif own and first.startswith(own):
        found = f"damaged, or of another content: {reason}"
    else:
        foreign = [told for begin, told in _FIRST_BYTES.items() if first.startswith(begin)]
        found = foreign[0] if foreign else "another kind of file" if own else reason
    return GraphError(str(path), f"no readable {kind} ({found})", wanted)


def unreadable_text(path: Path, kind: str, wanted: str, reason: str) -> GraphError:
    """The error of a file of text in UTF-8 that is not of its kind, or not in UTF-8."""
    other = _other_encoding(path)
    if other is None:
        return unreadable(path, kind, wanted, reason)
    found, encoding = other
    return GraphError(str(path), found, f"text in UTF-8, as `iconv -f {encoding} -t UTF-8` makes it")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _other_encoding(path: Path) -> tuple[str, str] | None:
    """What is no UTF-8 in a file, and the encoding that it most likely is; None for UTF-8 and for no text."""
    first = _first_bytes(path)
    if first.startswith(_UTF_16):
        return "text in UTF-16", "UTF-16"
    if first.startswith(tuple(_FIRST_BYTES)):
        return None
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"byte 0x{line[error.start]:02x} in line {number}, which is no UTF-8", "WINDOWS-1252"
    return None
