"""Numbers as callers send them → what a graph takes: features in either form, positions.

A caller may send features dense, in compressed sparse rows or in padded ones, and a graph takes dense or
padded ones; every pair works. Lists come from JSON, arrays from tensors: the same checks hold, and an array
of the type that the graph takes is passed on as it is.

Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.features import CsrFeatures, PaddedRows, csr_from_dense
from rbm_bundle.manifest import FeatureForm, Manifest
from rbm_bundle.nodes import MAX_MAGNITUDE, Floats, Integers
from rbm_service.errors import InvalidRequestError
from rbm_service.runtime.shapes import max_nonzeros

MAX_PADDED: Final = 8 * 2**20  # non-zeros of one batch, padding included: 96 MiB

SURELY_SMALL: Final = 1e28  # sum of squares: then each is far below the square of `MAX_MAGNITUDE`

Numbers = npt.NDArray[np.floating[Any]]
Matrix = list[list[float]] | list[npt.NDArray[np.float64]] | Numbers  # a list where rows may differ in length
Features = Floats | CsrFeatures | PaddedRows


@dataclass(frozen=True, slots=True)
class CsrRows:
    """B rows of features in compressed sparse rows, as a caller sent them: without values, every one is 1."""

    indptr: list[int] | Integers
    indices: list[int] | Integers
    values: list[float] | Numbers | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1


@dataclass(frozen=True, slots=True)
class PaddedPair:
    """B rows of features as a caller sent them in two tensors: `ids` (B, S), padded with F, and `values`
    (B, S), padded with 0."""

    ids: Integers
    values: Numbers

    def __len__(self) -> int:
        return len(self.ids)


def read_matrix(name: str, rows: Matrix, width: int) -> Floats:
    """Rows of `width` numbers each, as float32.

    Raises:
        InvalidRequestError: a row of another length, or a number that float32 cannot work with.
    """
    for index, row in enumerate(rows if isinstance(rows, list) else rows[:1]):
        if len(row) != width:
            raise InvalidRequestError.at(name, index, msg=f"found {len(row)} numbers, wanted {width}")
    matrix = rows if isinstance(rows, np.ndarray) else np.array(rows, np.float64).reshape(len(rows), width)
    _check_magnitude(matrix, name)
    return matrix.astype(np.float32, copy=False)


def read_features(features: Matrix | CsrRows | PaddedPair, F: int) -> Features:
    """Features of any form that a caller may send, checked: rows of `F`.

    Raises:
        InvalidRequestError: as `read_matrix`, `read_csr` and `read_padded`.
    """
    if isinstance(features, CsrRows):
        return read_csr(features, F)
    if isinstance(features, PaddedPair):
        return read_padded(features, F)
    return read_matrix("features", features, F)


def read_csr(rows: CsrRows, F: int) -> CsrFeatures:
    """Rows of `F` features, checked.

    Raises:
        InvalidRequestError: parts that do not fit each other or the `F` columns.
    """
    nnz = len(rows.indices)
    indptr, indices = np.array(rows.indptr, np.int64), np.array(rows.indices, np.int64)
    _check_bounds(indptr, nnz)
    _check_columns(indptr, indices, F)
    if rows.values is None:
        return CsrFeatures(indptr, indices, np.ones(nnz, np.float32), F)
    if len(rows.values) != nnz:
        msg = f"found {len(rows.values)} numbers, wanted {nnz}, one for each of indices"
        raise InvalidRequestError.at("features", "values", msg=msg)
    values = np.array(rows.values, np.float64)
    _check_magnitude(values, "features", "values")
    return CsrFeatures(indptr, indices, values.astype(np.float32), F)


def read_padded(pair: PaddedPair, F: int) -> PaddedRows:
    """Padded rows of `F` features, checked; padded to the longest of them and no further.

    Raises:
        InvalidRequestError: tensors that do not fit each other, the `F` columns or the padding.
    """
    if pair.values.shape != pair.ids.shape:
        msg = f"found shape {list(pair.values.shape)}, wanted {list(pair.ids.shape)} as feature_ids"
        raise InvalidRequestError.at("feature_values", msg=msg)
    _check_padded_ids(pair.ids, F)
    _check_magnitude(pair.values, "feature_values")
    stray = np.argwhere((pair.ids == F) & (pair.values != 0))
    if len(stray):
        msg = "found a value beside padding, wanted 0"
        raise InvalidRequestError.at("feature_values", *stray[0].tolist(), msg=msg)
    rows = PaddedRows(pair.ids, pair.values.astype(np.float32, copy=False), F)
    width = max(int(rows.lengths.max(initial=0)), 1)
    return PaddedRows(rows.ids[:, :width], rows.values[:, :width], F)


def in_form(features: Features, form: FeatureForm) -> Features:
    """Features (B, F), however they came, in the form that a graph takes."""
    if form == "sparse":
        return csr_from_dense(features) if isinstance(features, np.ndarray) else features
    if isinstance(features, PaddedRows):
        features = features.to_csr()
    return features.to_dense() if isinstance(features, CsrFeatures) else features


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
        row = int(lengths.argmax())
        msg = f"found {longest} non-zeros in row {row}, wanted at most {most}"
        raise InvalidRequestError.at("features", msg=msg)
    if len(lengths) * longest > MAX_PADDED:
        msg = (
            f"found {len(lengths)} rows, the longest of {longest} non-zeros, wanted at most "
            f"{MAX_PADDED // longest} rows together with one as long"
        )
        raise InvalidRequestError.at("features", msg=msg)
    return max(longest, 1)


def graph_features(features: Features) -> dict[str, npt.NDArray[Any]]:
    """Features in the form of a graph, as its inputs."""
    if isinstance(features, np.ndarray):
        return {"features": features}
    padded = features.to_padded() if isinstance(features, CsrFeatures) else features
    return {"feature_ids": padded.ids, "feature_values": padded.values}


def _check_bounds(indptr: Integers, nnz: int) -> None:
    last = len(indptr) - 1
    if indptr[0] != 0:
        raise InvalidRequestError.at("features", "indptr", 0, msg=f"found {indptr[0]}, wanted 0")
    if len(falls := np.flatnonzero(np.diff(indptr) < 0)):
        place = int(falls[0]) + 1
        msg = f"found {indptr[place]} after {indptr[place - 1]}, wanted no less"
        raise InvalidRequestError.at("features", "indptr", place, msg=msg)
    if indptr[last] != nnz:
        msg = f"found {indptr[last]}, wanted {nnz}, the length of indices"
        raise InvalidRequestError.at("features", "indptr", last, msg=msg)


def _check_columns(indptr: Integers, indices: Integers, F: int) -> None:
    if len(outside := np.flatnonzero((indices < 0) | (indices >= F))):
        place = int(outside[0])
        msg = f"found {indices[place]}, wanted a column from 0 to {F - 1}"
        raise InvalidRequestError.at("features", "indices", place, msg=msg)
    starts_row = np.zeros(len(indices) + 1, np.bool_)
    starts_row[indptr] = True
    if len(stalls := np.flatnonzero((np.diff(indices) <= 0) & ~starts_row[1:-1])):
        place = int(stalls[0]) + 1
        msg = f"found {indices[place]} after {indices[place - 1]}, wanted columns that rise within a row"
        raise InvalidRequestError.at("features", "indices", place, msg=msg)


def _check_padded_ids(ids: Integers, F: int) -> None:
    if ids.shape[1] == 0:
        raise InvalidRequestError.at("feature_ids", msg="found rows of no entries, wanted at least one")
    if len(outside := np.argwhere((ids < 0) | (ids > F))):
        row, place = outside[0].tolist()
        msg = f"found {ids[row, place]}, wanted a column from 0 to {F - 1}, or {F} as padding"
        raise InvalidRequestError.at("feature_ids", row, place, msg=msg)
    if len(stalls := np.argwhere((ids[:, 1:] <= ids[:, :-1]) & (ids[:, 1:] != F))):
        row, place = stalls[0].tolist()
        msg = f"found {ids[row, place + 1]} after {ids[row, place]}, wanted columns that rise, then padding"
        raise InvalidRequestError.at("feature_ids", row, place + 1, msg=msg)


def _check_magnitude(numbers: Numbers, *loc: str | int) -> None:
    flat = numbers.ravel()
    if flat.dot(flat) <= SURELY_SMALL:  # one step for nearly every request
        return
    if not numbers.size or -MAX_MAGNITUDE <= numbers.min() <= numbers.max() <= MAX_MAGNITUDE:
        return
    outside = np.argwhere(~(np.abs(numbers) <= MAX_MAGNITUDE))  # a NaN is outside as well
    if len(outside):
        msg = f"not a finite number within ±{MAX_MAGNITUDE:.0e}"
        raise InvalidRequestError.at(*loc, *outside[0].tolist(), msg=msg)
