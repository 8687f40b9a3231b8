"""Numbers as callers send them → what a graph takes: features in either form, positions.

A caller may send features dense or in compressed sparse rows, and a graph takes one of the two; every pair
works. Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbm_bundle.features import CsrFeatures, csr_from_dense
from rbm_bundle.manifest import FeatureForm, Manifest
from rbm_bundle.nodes import MAX_MAGNITUDE, Floats, Integers
from rbm_service.errors import InvalidRequestError
from rbm_service.shapes import MAX_PADDED, Tensors, max_nonzeros


@dataclass(frozen=True, slots=True)
class CsrRows:
    """B rows of features in compressed sparse rows, as a caller sent them: without values, every one is 1."""

    indptr: list[int]
    indices: list[int]
    values: list[float] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1


def read_matrix(name: str, rows: list[list[float]], width: int) -> Floats:
    """Rows of `width` numbers each, as float32.

    Raises:
        InvalidRequestError: a row of another length, or a number that float32 cannot work with.
    """
    for index, row in enumerate(rows):
        if len(row) != width:
            raise InvalidRequestError.at(name, index, msg=f"found {len(row)} numbers, wanted {width}")
    matrix = np.array(rows, np.float64).reshape(len(rows), width)
    _check_magnitude(matrix, name)
    return matrix.astype(np.float32)


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


def in_form(features: Floats | CsrFeatures, form: FeatureForm) -> Floats | CsrFeatures:
    """Features (B, F), however they came, in the form that a graph takes."""
    if form == "dense":
        return features.to_dense() if isinstance(features, CsrFeatures) else features
    return features if isinstance(features, CsrFeatures) else csr_from_dense(features)


def check_lengths(features: Floats | CsrFeatures, manifest: Manifest) -> None:
    """Refuse sparse rows that would take more memory than a request may: all are padded to the longest.

    Raises:
        InvalidRequestError: a row that the graph cannot gather at once, or too many rows for their longest.
    """
    if not isinstance(features, CsrFeatures):
        return
    longest, most = features.max_nonzeros, max_nonzeros(manifest)
    if longest > most:
        row = int(np.diff(features.indptr).argmax())
        msg = f"found {longest} non-zeros in row {row}, wanted at most {most}"
        raise InvalidRequestError.at("features", msg=msg)
    if features.num_rows * longest > MAX_PADDED:
        msg = (
            f"found {features.num_rows} rows, the longest of {longest} non-zeros, wanted at most "
            f"{MAX_PADDED // longest} rows together with one as long"
        )
        raise InvalidRequestError.at("features", msg=msg)


def graph_features(features: Floats | CsrFeatures) -> Tensors:
    """Features in the form of a graph, as its inputs."""
    if not isinstance(features, CsrFeatures):
        return {"features": features}
    padded = features.to_padded()
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


def _check_magnitude(numbers: npt.NDArray[np.float64], *loc: str | int) -> None:
    outside = np.argwhere(~(np.abs(numbers) <= MAX_MAGNITUDE))  # a NaN is outside as well
    if len(outside):
        msg = f"not a finite number within ±{MAX_MAGNITUDE:.0e}"
        raise InvalidRequestError.at(*loc, *outside[0].tolist(), msg=msg)
