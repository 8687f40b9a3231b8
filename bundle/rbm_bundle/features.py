"""Node features in compressed sparse rows, and the padded rows a sparse graph takes.

A row of a bag of words has a few dozen non-zeros among thousands of columns; the graph then reads only the
weights of those columns. Dimension letters: N nodes, B batch, F features, S non-zeros of the longest row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PaddedRows:
    """Rows as a sparse graph takes them: ids (B, S) int64 padded with F, values (B, S) float32 with 0."""

    ids: Integers
    values: Floats
    num_features: int

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self.ids)

    @property
    def lengths(self) -> Integers:
        """Non-zeros of each row, shape (B,)."""
        stored: Integers = (self.ids != self.num_features).sum(axis=1)
        return stored

    def to_csr(self) -> "CsrFeatures":
        """The same rows without their padding."""
        stored = self.ids != self.num_features
        indptr = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        return CsrFeatures(indptr, self.ids[stored], self.values[stored], self.num_features)


@dataclass(frozen=True, slots=True)
class CsrFeatures:
    """Features in compressed sparse rows: indptr (N+1,), indices and values (nnz,), F columns."""

    indptr: Integers
    indices: Integers
    values: Floats
    num_features: int

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.indptr) - 1

    @property
    def lengths(self) -> Integers:
        """Stored values of each row, shape (N,)."""
        return np.diff(self.indptr)

    @property
    def max_nonzeros(self) -> int:
        """Stored values of the longest row."""
        return int(self.lengths.max(initial=0))

    def lengths_of(self, rows: Integers) -> Integers:
        """Stored values of some of the rows, in the order asked for."""
        return self.indptr[rows + 1] - self.indptr[rows]

    def take(self, rows: Integers) -> "CsrFeatures":
        """Some of the rows, in the order asked for."""
        starts, counts = self.indptr[rows], self.lengths_of(rows)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        places = np.repeat(starts - indptr[:-1], counts) + np.arange(indptr[-1])
        return CsrFeatures(indptr, self.indices[places], self.values[places], self.num_features)

    def to_dense(self) -> Floats:
        """The matrix (N, F)."""
        out = np.zeros((self.num_rows, self.num_features), np.float32)
        out[self._row_of_each(), self.indices] = self.values
        return out

    def to_padded(self) -> PaddedRows:
        """The rows padded to the longest of them, at least one entry wide."""
        shape = (self.num_rows, max(self.max_nonzeros, 1))
        ids = np.full(shape, self.num_features, np.int64)
        values = np.zeros(shape, np.float32)
        rows = self._row_of_each()
        places = np.arange(len(rows)) - self.indptr[rows]
        ids[rows, places], values[rows, places] = self.indices, self.values
        return PaddedRows(ids, values, self.num_features)

    def _row_of_each(self) -> Integers:
        return np.repeat(np.arange(self.num_rows), self.lengths)


def csr_from_dense(features: Floats) -> CsrFeatures:
    """The non-zeros of a matrix (N, F)."""
    rows, columns = np.nonzero(features)
    counts = np.bincount(rows, minlength=len(features))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return CsrFeatures(indptr, columns.astype(np.int64), features[rows, columns], features.shape[1])
