"""Arrays of a NumPy file, each checked for kind and shape as it is asked for. Nothing is unpickled."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.data.checks import check_numbers, check_shape, check_sparse, check_text
from rbm_training.data.graph import GraphError
from rbm_training.data.readers.unreadable import unreadable

BARE: Final = "the array"
"""Key of the one array of an `.npy`."""
_FIRST_BYTES: Final = (b"PK\x03\x04", b"\x93NUMPY")
_KIND_NAMES: Final = {
    "i": "integer",
    "u": "unsigned",
    "f": "float",
    "b": "boolean",
    "U": "text",
    "S": "bytes",
    "M": "date",
}


class NamedArrays:
    """Arrays by key, each of a source that messages name."""

    def __init__(self, source: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.source = source
        self._arrays = arrays

    @property
    def names(self) -> list[str]:
        """The keys of all arrays."""
        return list(self._arrays)

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def refuse_unlisted(self, known: Collection[str]) -> None:
        """Refuse a key that nobody reads: most likely it is misspelt."""
        if unlisted := sorted(set(self._arrays) - set(known)):
            raise GraphError(self.source, f"unknown keys {', '.join(unlisted)}", ", ".join(sorted(known)))

    def get(self, key: str, kinds: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """An array whose dtype is of one of the kinds and whose shape is as given, None for any size.

        Raises:
            GraphError: it is missing or another.
        """
        if key not in self:
            raise GraphError(self.source, f"no {key}", f"{key} of shape {_shown(shape)}")
        array = self._arrays[key]
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in kinds:
            raise GraphError(
                self.source,
                f"{key} of shape {_shown(array.shape)} and type {array.dtype}",
                f"shape {_shown(shape)} and a type of kind {'/'.join(_KIND_NAMES[kind] for kind in kinds)}",
            )
        return array

    def form(self, key: str) -> tuple[str, tuple[int, ...]]:
        """The kind of an array's dtype, and its shape; of one that is not there, no kind and no size."""
        array = self._arrays.get(key, np.array([], "V"))
        return array.dtype.kind, array.shape

    def text(self, key: str) -> list[str]:
        """A one-dimensional array of strings, or of bytes in UTF-8."""
        return check_text(self.source, key, self.get(key, "US", (None,)).tolist())

    def sparse(self, matrix: str) -> sp.csr_array:
        """A sparse matrix from its CSR parts `<matrix>_indptr`, `_indices`, `_shape`, `_data` (or ones).

        Raises:
            GraphError: a part is missing, or does not fit the others.
        """
        shape, indptr, indices, data = (f"{matrix}_{part}" for part in ("shape", "indptr", "indices", "data"))
        num_rows, num_columns = (int(size) for size in self.get(shape, "iu", (2,)))
        check_shape(self.source, shape, num_rows, num_columns)
        bounds = self.get(indptr, "iu", (num_rows + 1,)).astype(np.int64)
        if bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise GraphError(self.source, f"{indptr} that falls or does not start at 0", "rising row bounds")
        columns = self.get(indices, "iu", (int(bounds[-1]),)).astype(np.int64)
        if len(columns) and not (columns.min() >= 0 and columns.max() < num_columns):
            raise GraphError(
                self.source,
                f"{indices} in {columns.min()}..{columns.max()}",
                f"columns 0..{num_columns - 1}",
            )
        values = np.ones(len(columns), np.float32)
        if data in self:
            values = check_numbers(self.source, data, self.get(data, "fiub", (len(columns),)))
        matrix_shape = (num_rows, num_columns)
        return check_sparse(self.source, indices, sp.csr_array((values, columns, bounds), shape=matrix_shape))


class ArrayFile(NamedArrays):
    """The arrays of an `.npz` by key, or the one of an `.npy` under the key `BARE`."""

    def __init__(self, path: Path, wanted: str, only: Collection[str] | None = None) -> None:
        """Read the file.

        Args:
            wanted: what the file should hold, for the message when it does not.
            only: keys to read; None for all.

        Raises:
            GraphError: there is no such file, or it is damaged or pickled.
        """
        source = str(path)
        if not path.is_file():
            raise GraphError(source, "no file", wanted)
        try:
            arrays = _read(path, only)
        except Exception as error:  # the unit of work is this file; numpy, zip and zlib fail their own way
            wanted = "plain arrays, no pickled objects"
            raise unreadable(path, "NumPy file", wanted, str(error), own=_FIRST_BYTES) from error
        super().__init__(source, arrays)


def _read(path: Path, only: Collection[str] | None) -> dict[str, npt.NDArray[Any]]:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {BARE: content}
        with content as archive:
            return {key: archive[key] for key in archive.files if only is None or key in only}


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
