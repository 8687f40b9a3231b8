"""Arrays of a bundle, read no further than its manifest says.

An `.npy` file is mapped; a member of an `.npz` is read as far as its dtype and shape imply, however much it
would expand to. Whatever is wrong with a file is told by one `BundleError`.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from rbm_bundle.errors import BundleError

MAX_HEADER_BYTES: Final = 12 + 10_000  # magic and length, then numpy's own limit
MAX_MEMBER_OVERHEAD: Final = MAX_HEADER_BYTES + 2**16  # of a member within its archive
HEADER_READERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
KINDS: Final = {"integer": "i", "string": "S"}

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What an array must be; `integer` and `string` are of any width, a size of None is one up to `free`."""

    dtype: Literal["float32", "int32", "int64", "integer", "string"]
    shape: tuple[int | None, ...]
    free: int = 0

    def admits(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        """Whether an array is of this kind."""
        same_dtype = dtype.kind == KINDS[self.dtype] if self.dtype in KINDS else dtype == self.dtype
        return same_dtype and len(shape) == len(self.shape) and all(map(self._fits, shape, self.shape))

    @property
    def max_bytes(self) -> int:
        """Length of the longest such array of 8 bytes an element."""
        return 8 * math.prod(self.free if size is None else size for size in self.shape)

    def _fits(self, got: int, expected: int | None) -> bool:
        return 0 <= got <= self.free if expected is None else got == expected

    def __str__(self) -> str:
        sizes = [f"up to {self.free}" if size is None else str(size) for size in self.shape]
        return f"{self.dtype} of shape ({', '.join(sizes)})"


class _Header(NamedTuple):
    """What the header of an `.npy` says, and where the elements begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    start: int

    @property
    def end(self) -> int:
        return self.start + self.dtype.itemsize * math.prod(self.shape)


def map_array(path: Path, spec: ArraySpec) -> Array:
    """Map an `.npy` file.

    Raises:
        BundleError: it cannot be read, or is not as specified.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(path, "", file.read(MAX_HEADER_BYTES), spec)
        _check_length(path, "", path.stat().st_size, header)
        if header.start == header.end:  # zero bytes cannot be mapped
            return np.empty(header.shape, header.dtype)
        mapped = np.memmap(path, header.dtype, "r", header.start, header.shape, header.order)
    except BundleError:
        raise
    except Exception as error:  # the unit of work is this file: numpy takes its header for Python's
        raise BundleError(path, f"no readable array ({_reason(error)})", str(spec)) from error
    # A plain view of the mapping: indexing `np.memmap` itself costs microseconds more a gather.
    return np.asarray(mapped)


def read_archive(path: Path, specs: Mapping[str, ArraySpec]) -> dict[str, Array]:
    """Read the arrays of an `.npz`, which must be these and no others.

    Raises:
        BundleError: it cannot be read, or an array is missing, too many or not as specified.
    """
    expected = f"arrays {', '.join(sorted(specs))}"
    try:
        size = path.stat().st_size
        if size > sum(spec.max_bytes + MAX_MEMBER_OVERHEAD for spec in specs.values()):
            raise BundleError(path, f"{size} bytes, too many for them", expected)
        with zipfile.ZipFile(path) as archive:
            names = sorted(name.removesuffix(".npy") for name in archive.namelist())
            if names != sorted(specs):
                raise BundleError(path, f"arrays {', '.join(names) or 'none'}", expected)
            return {name: _read_member(path, archive, name, spec) for name, spec in specs.items()}
    except BundleError:
        raise
    except Exception as error:  # the unit of work is this file: zip, deflate and header fail in many ways
        raise BundleError(path, f"no readable archive ({_reason(error)})", expected) from error


def _read_member(path: Path, archive: zipfile.ZipFile, name: str, spec: ArraySpec) -> Array:
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others expand without bound
        raise BundleError(path, f"{name} compressed by method {info.compress_type}", "stored or deflated")
    with archive.open(info) as member:
        head = member.read(MAX_HEADER_BYTES)
        header = _read_header(path, f"{name} as ", head, spec)
        _check_length(path, f"{name} as ", info.file_size, header)
        rest = max(header.end - len(head), 0)
        content = head + member.read(rest + 1)  # by one more, so that the checksum is checked
    _check_length(path, f"{name} as ", len(content), header)
    return np.frombuffer(content[header.start :], header.dtype).reshape(header.shape, order=header.order)


def _read_header(path: Path, label: str, head: bytes, spec: ArraySpec) -> _Header:
    stream = io.BytesIO(head)
    version = npy.read_magic(stream)
    if version not in HEADER_READERS:
        raise ValueError(f"format {version} of .npy")
    shape, fortran_order, dtype = HEADER_READERS[version](stream)
    if not spec.admits(dtype, shape):
        raise BundleError(path, f"{label}{dtype} of shape {shape}", f"{label}{spec}")
    return _Header(dtype, shape, "F" if fortran_order else "C", stream.tell())


def _check_length(path: Path, label: str, length: int, header: _Header) -> None:
    if length < header.end:
        raise BundleError(path, f"{label}no readable array ({length} bytes)", f"{header.end} bytes")
    if length > header.end:
        raise BundleError(path, f"{label}bytes behind the array", f"{header.end} bytes")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
