"""Files of a bundle that no writer of ours would write: archives, headers of arrays, manifests."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

Change = Callable[[bytes], bytes]


def damaged_archives() -> Iterator[tuple[str, Change, str]]:
    """Golden rows that no array in memory could be: name, change, reason."""
    yield "golden rows that are one array", lambda raw: saved(np.zeros(3)), "no readable archive"
    for num_rows in (2**44, 2**60):
        huge = partial(rezipped, logits=array_of(num_rows))
        yield f"{num_rows} golden rows", huge, rf"logits as float32 of shape \({num_rows}, 4\)"
    yield "golden rows that are packed and damaged", damaged_deflate, "no readable archive"
    yield "golden rows that are encrypted", encrypted, "no readable archive .*encrypted"
    yield "golden rows packed otherwise", partial(rezipped, method=zipfile.ZIP_LZMA), "method 14"
    yield "golden rows that expand", expanding, "features as bytes behind the array"
    yield "a golden array in two copies", twice, "features, features"
    yield "a golden header that is no array", partial(rezipped, logits=b"logits"), "no readable archive"
    for header in ("(" * 5000, "{'shape': (-", "\0", "-" * 9000 + "1", "{1: 'é'}"):
        damaged = partial(rezipped, logits=npy(header))
        yield f"a golden header of {header[:9]!r}", damaged, "no readable archive"


def rezipped(raw: bytes, method: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
    """The archive with some of its arrays replaced by other bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(name.removesuffix(".npy"), old.read(name)))
    return buffer.getvalue()


def damaged_deflate(raw: bytes) -> bytes:
    packed = bytearray(rezipped(raw, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        start = archive.getinfo("logits.npy").header_offset + 60
    packed[start : start + 20] = b"\xff" * 20
    return bytes(packed)


def encrypted(raw: bytes) -> bytes:
    marked = bytearray(raw)
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = raw.find(signature)
        while place >= 0:
            marked[place + flags] |= 1
            place = raw.find(signature, place + 1)
    return bytes(marked)


def expanding(raw: bytes) -> bytes:
    """A thousandth of what comes out of it; the array's header is right."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        features = archive.read("features.npy")
    return rezipped(raw, zipfile.ZIP_DEFLATED, features=features + bytes(2**24))


def twice(raw: bytes) -> bytes:
    buffer = io.BytesIO(raw)
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("features.npy", archive.read("features.npy"))
    return buffer.getvalue()


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header.encode())) + header.encode()


def damaged_manifests() -> Iterator[tuple[str, Change, str]]:
    """Manifests that are no JSON, or not what every reader takes alike: name, change, reason."""
    yield "a manifest without end", lambda raw: b"[" * 10**6, "no JSON"
    yield "a manifest of a list", lambda raw: b"[1]", "format_version None"
    yield "a manifest with a byte order mark", lambda raw: b"\xef\xbb\xbf" + raw, "no JSON .*BOM"
    yield "a manifest in UTF-16", lambda raw: raw.decode().encode("utf-16"), "no JSON .*utf-8"
    yield "a manifest of binary data", lambda raw: b"\xff" * 99, "no JSON .*utf-8"
    yield (
        "a manifest with a key twice",
        partial(with_field, b'"name": "tiny"'),
        "no JSON .*a key twice among .*name, name",
    )
    yield "a manifest with NaN", partial(with_field, b'"x": NaN'), "no JSON .*NaN"
    yield "a manifest with a huge number", partial(with_field, b'"x": ' + b"9" * 5000), "no JSON"
    yield "a manifest of a deep version", lambda raw: deep_version(), "format_version"


def with_field(field: bytes, raw: bytes) -> bytes:
    return raw.replace(b"{", b"{" + field + b",", 1)


def deep_version() -> bytes:
    return b'{"format_version": ' + b"[" * 500 + b"]" * 500 + b"}"


def array_of(num_rows: int) -> bytes:
    """An array of four columns that claims more rows than it holds."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({num_rows}, 4), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()
