"""Numbers as callers send them → what a graph takes: features in either form, positions.

A caller may send features dense, in compressed sparse rows or in padded ones, and a graph takes dense or
padded ones; every pair works. Lists come from JSON, arrays from tensors: the same checks hold, and an array
of the type that the graph takes is passed on as it is.

Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.features import CsrFeatures, PaddedRows, csr_from_dense
from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import FeatureForm
from rbm_bundle.nodes import MAX_MAGNITUDE, Floats, Integers
from rbm_service.errors import InvalidRequestError
from rbm_service.runtime.shapes import max_nonzeros

MAX_PADDED: Final = 8 * 2**20  # non-zeros of one batch, padding included: 96 MiB

SURELY_SMALL: Final = 1e28  # sum of squares: then each is far below the square of `MAX_MAGNITUDE`

Numbers = npt.NDArray[np.floating[Any]]
Matrix = list[list[float]] | list[npt.NDArray[np.float64]] | Numbers  # a list where rows may differ in length
Mask = npt.NDArray[np.bool_]
Features = Floats | CsrFeatures | PaddedRows

mismatch = InvalidRequestError.mismatch


@dataclass(frozen=True, slots=True)
class CsrRows:
    """B rows of features in compressed sparse rows, as a caller sent them: without values, every one is 1."""

    indptr: list[int] | Integers
    indices: list[int] | Integers
    values: list[float] | Numbers | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def at(self, rows: Sequence[int]) -> "CsrRows":
        """Some of the rows, whose parts fit each other."""
        indptr, indices = np.asarray(self.indptr, np.int64), np.asarray(self.indices, np.int64)
        values = np.ones(len(indices), np.float32) if self.values is None else np.asarray(self.values)
        part = CsrFeatures(indptr, indices, values, num_features=0).take(np.asarray(rows))  # of any width
        return CsrRows(part.indptr, part.indices, part.values)

    def read(self, F: int) -> CsrFeatures:
        """The rows of `F` features, checked.

        Raises:
            InvalidRequestError: parts that do not fit each other or the `F` columns.
        """
        indptr, indices = np.array(self.indptr, np.int64), np.array(self.indices, np.int64)
        last, nnz = len(indptr) - 1, len(indices)
        if indptr[0] != 0:
            raise mismatch("features", "indptr", 0, expected=0, got=indptr[0])
        falls = indptr[1:] < indptr[:-1]  # a difference of such bounds may overflow
        _refuse(falls, indptr, "features", "indptr", expected="no less than before", step=1)
        if indptr[last] != nnz:
            expected = f"{nnz}, the length of indices"
            raise mismatch("features", "indptr", last, expected=expected, got=indptr[last])
        outside = (indices < 0) | (indices >= F)
        _refuse(outside, indices, "features", "indices", expected=f"a column from 0 to {F - 1}")
        starts_row = np.zeros(nnz + 1, np.bool_)
        starts_row[indptr] = True
        stalls = (np.diff(indices) <= 0) & ~starts_row[1:-1]
        _refuse(stalls, indices, "features", "indices", expected="columns that rise within a row", step=1)
        if self.values is None:
            return CsrFeatures(indptr, indices, np.ones(nnz, np.float32), F)
        if len(self.values) != nnz:
            expected = f"{nnz} numbers, one for each of indices"
            raise mismatch("features", "values", expected=expected, got=len(self.values))
        values = _float32(np.array(self.values, np.float64), "features", "values")
        return CsrFeatures(indptr, indices, values, F)


@dataclass(frozen=True, slots=True)
class PaddedPair:
    """B rows of features as a caller sent them in two tensors: `ids` (B, S), padded with F, and `values`
    (B, S), padded with 0."""

    ids: Integers
    values: Numbers

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, rows: Sequence[int]) -> "PaddedPair":
        """Some of the rows, of two tensors of one shape."""
        return PaddedPair(self.ids[list(rows)], self.values[list(rows)])

    def read(self, F: int) -> PaddedRows:
        """The rows of `F` features, checked; padded to the longest of them and no further.

        Raises:
            InvalidRequestError: tensors that do not fit each other, the `F` columns or the padding.
        """
        ids, values = self.ids, self.values
        if values.shape != ids.shape:
            expected = f"shape {list(ids.shape)} as feature_ids"
            raise mismatch("feature_values", expected=expected, got=list(values.shape))
        if ids.shape[1] == 0:
            raise mismatch("feature_ids", expected="at least one entry a row", got="none")
        outside = (ids < 0) | (ids > F)
        _refuse(outside, ids, "feature_ids", expected=f"a column from 0 to {F - 1}, or {F} as padding")
        stalls = (ids[:, 1:] <= ids[:, :-1]) & (ids[:, 1:] != F)
        _refuse(stalls, ids, "feature_ids", expected="columns that rise, then padding", step=1)
        numbers = _float32(values, "feature_values")
        _refuse((ids == F) & (values != 0), values, "feature_values", expected="0 beside padding")
        width = max(int((ids != F).sum(axis=1).max(initial=0)), 1)
        return PaddedRows(ids[:, :width], numbers[:, :width], F)


def read_matrix(name: str, rows: Matrix, width: int) -> Floats:
    """Rows of `width` numbers each, as float32.

    Raises:
        InvalidRequestError: a row of another length, or a number that float32 cannot work with.
    """
    lengths = map(len, rows) if isinstance(rows, list) else rows.shape[1:]
    for index, length in enumerate(lengths):
        if length != width:
            raise mismatch(name, index, expected=f"{width} numbers", got=length)
    matrix = rows if isinstance(rows, np.ndarray) else np.array(rows, np.float64).reshape(len(rows), width)
    return _float32(matrix, name)


def check_lengths(lengths: Integers, manifest: Manifest) -> int:
    """Refuse sparse rows that would take more memory than a request may: all are padded to the longest.

    Args:
        lengths: non-zeros of each row, shape (B,).

    Returns:
        How wide they are when padded.

    Raises:
        InvalidRequestError: a row that the graph cannot gather at once, or too many rows for their longest.
    """
    most, longest = max_nonzeros(manifest), int(lengths.max(initial=0))
    if longest > most:
        got = f"{longest} in row {lengths.argmax()}"
        raise mismatch("features", expected=f"at most {most} non-zeros a row", got=got)
    if len(lengths) * longest > MAX_PADDED:
        expected = f"at most {MAX_PADDED // longest} rows together with one of {longest} non-zeros"
        raise mismatch("features", expected=expected, got=len(lengths))
    return max(longest, 1)


def graph_inputs(features: Features, form: FeatureForm) -> dict[str, npt.NDArray[Any]]:
    """Features (B, F), however they came, as inputs of a graph that takes them in some form."""
    if form == "dense":
        if isinstance(features, PaddedRows):
            features = features.to_csr()
        return {"features": features.to_dense() if isinstance(features, CsrFeatures) else features}
    if isinstance(features, np.ndarray):
        features = csr_from_dense(features)
    padded = features.to_padded() if isinstance(features, CsrFeatures) else features
    return {"feature_ids": padded.ids, "feature_values": padded.values}


def _refuse(wrong: Mask, numbers: npt.NDArray[Any], *loc: str, expected: str, step: int = 0) -> None:
    """Refuse the first number that is wrong; with a step of 1, the first that is wrong after another."""
    if wrong.any():
        *row, place = np.argwhere(wrong)[0].tolist()
        got = str(numbers[(*row, place + step)])
        if step:
            got += f" after {numbers[(*row, place)]}"
        raise mismatch(*loc, *row, place + step, expected=expected, got=got)


def _float32(numbers: Numbers, *loc: str) -> Floats:
    """Numbers as float32, if they are finite and none is too large."""
    flat = numbers.ravel()
    if not flat.dot(flat) <= SURELY_SMALL:  # one step for nearly every request
        outside = np.argwhere(~(np.abs(numbers) <= MAX_MAGNITUDE))  # a NaN is outside as well
        if len(outside):
            msg = f"not a finite number within ±{MAX_MAGNITUDE:.0e}"
            raise InvalidRequestError.at(*loc, *outside[0].tolist(), msg=msg)
    return numbers.astype(np.float32, copy=False)
