"""Input rows, dense or sparse, behind the few operations that a first layer needs.

A dense input is a plain tensor. A bag of words stays sparse all the way: its rows are multiplied, scaled,
dropped and averaged through their non-zeros alone, which is what makes thousands of columns affordable.

Dimension letters: B rows, F sparse columns, P dense columns beside them, D = F + P, E experts, H output
width.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_training.data.sparse_product import ByColumn, by_column, row_of_each, sparse_product

EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class SparseRows:
    """B rows of a sparse block of F columns, and beside it a dense block of P (possibly none).

    Shapes: offsets (B+1,), columns and values (nnz,) as in compressed sparse rows; dense (B, P).
    `layout` tells where the same values are column by column, if that is known.
    """

    offsets: Tensor
    columns: Tensor
    values: Tensor
    num_columns: int
    dense: Tensor
    layout: ByColumn | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(B, D)."""
        return len(self), self.num_columns + self.dense.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.values.device

    def __getitem__(self, rows: Tensor) -> "SparseRows":
        """Some of the rows, in the order asked for."""
        starts, counts = self.offsets[rows], self.offsets.diff()[rows]
        offsets = F.pad(counts.cumsum(0), (1, 0))
        shift = (starts - offsets[:-1]).repeat_interleave(counts)
        places = shift + torch.arange(len(shift), device=shift.device)
        return SparseRows(
            offsets, self.columns[places], self.values[places], self.num_columns, self.dense[rows]
        )

    def __matmul__(self, weight: Tensor) -> Tensor:
        """x W: rows (B, D) times weight (D, H), shape (B, H)."""
        sparse_part, dense_part = weight[: self.num_columns], weight[self.num_columns :]
        weight = sparse_part.contiguous()
        product = sparse_product(weight, self.offsets, self.columns, self.values, self.layout)
        return product + self.dense @ dense_part if self.dense.shape[1] else product

    def row_of_each(self) -> Tensor:
        """The row that each stored value belongs to, (nnz,)."""
        return row_of_each(self.offsets)

    def scale_rows(self, factors: Tensor) -> "SparseRows":
        """Each row times a factor of its own, factors (B,)."""
        values = self.values * factors[self.row_of_each()]
        return replace(self, values=values, dense=self.dense * factors.unsqueeze(1))

    def with_layout(self) -> "SparseRows":
        """The same rows, ready to be multiplied many times."""
        return replace(self, layout=by_column(self.offsets, self.columns, self.num_columns))

    def to(self, target: torch.device | torch.dtype) -> "SparseRows":
        """The rows on another device or in another precision."""
        offsets, columns = self.offsets, self.columns
        if isinstance(target, torch.device):
            offsets, columns = offsets.to(target), columns.to(target)
        return SparseRows(offsets, columns, self.values.to(target), self.num_columns, self.dense.to(target))

    def to_scipy(self) -> sp.csr_array:
        """Both blocks side by side, (B, D)."""
        values, columns, offsets = (
            part.detach().cpu().numpy() for part in (self.values, self.columns, self.offsets)
        )
        # scikit-learn takes indices of 32 bits only.
        parts = (values, columns.astype(np.int32), offsets.astype(np.int32))
        sparse_part = sp.csr_array(parts, shape=(len(self), self.num_columns))
        return sp.csr_array(sp.hstack([sparse_part, sp.csr_array(self.dense.detach().cpu().numpy())]))


Rows = Tensor | SparseRows
Matrix = npt.NDArray[np.float32] | sp.csr_array


def rows_of(features: Matrix, device: torch.device) -> Rows:
    """Features (N, F) as rows on a device, sparse where they are stored so."""
    if isinstance(features, np.ndarray):
        return torch.from_numpy(features).to(device)
    return SparseRows(
        torch.from_numpy(features.indptr.astype(np.int64)).to(device),
        torch.from_numpy(features.indices.astype(np.int64)).to(device),
        torch.from_numpy(features.data.astype(np.float32)).to(device),
        features.shape[1],
        torch.zeros((features.shape[0], 0), device=device),
    )


def to_multiply(x: Rows) -> Rows:
    """Rows that are about to be multiplied many times."""
    return x if isinstance(x, Tensor) else x.with_layout()


def row_batches(x: Rows, batch_rows: int, wanted: Tensor | None = None) -> Iterator[Rows]:
    """The rows, or those `wanted` by number, in order and at most `batch_rows` at a time."""
    if wanted is None and len(x) <= batch_rows:
        yield x
        return
    rows = torch.arange(len(x), device=x.device) if wanted is None else wanted
    yield from (x[batch] for batch in rows.split(batch_rows))


def as_array(x: Rows) -> Matrix:
    """The rows (B, D) as scikit-learn takes them."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else x.to_scipy()


def beside(features: Rows, positions: Tensor) -> Rows:
    """Features and, to their right, positions (B, P)."""
    if isinstance(features, Tensor):
        return torch.cat([features, positions], dim=1)
    return replace(features, dense=torch.cat([features.dense, positions], dim=1))


@overload
def unit_rows(x: Tensor) -> Tensor: ...
@overload
def unit_rows(x: Rows) -> Rows: ...
def unit_rows(x: Rows) -> Rows:
    """Rows of norm 1; all-zero rows stay zero, and so do no gradients of theirs grow beyond bounds."""
    divisors = norm_divisors(row_norms(x))
    return x / divisors.unsqueeze(-1) if isinstance(x, Tensor) else x.scale_rows(1 / divisors)


def row_norms(x: Rows) -> Tensor:
    """‖x‖ of each row, (B,)."""
    if isinstance(x, Tensor):
        norms: Tensor = x.norm(dim=-1)
        return norms
    return square_roots(squared_norms(x))


def square_roots(squares: Tensor) -> Tensor:
    """Roots of what is not negative, with a gradient of 0 at 0."""
    is_zero = squares == 0  # where the root has no gradient
    return squares.masked_fill(is_zero, 1).sqrt().masked_fill(is_zero, 0)


def norm_divisors(norms: Tensor) -> Tensor:
    """What rows of these norms are divided by to have norm 1: anything but 0."""
    return norms.masked_fill(norms == 0, 1).clamp_min(EPSILON)


def squared_norms(x: Rows) -> Tensor:
    """‖x‖² of each row, (B,)."""
    if isinstance(x, Tensor):
        return x.pow(2).sum(dim=1)
    sparse_part = x.values.new_zeros(len(x)).index_add(0, x.row_of_each(), x.values**2)
    return sparse_part + x.dense.pow(2).sum(dim=1)


@overload
def dropout(x: Tensor, probability: float, training: bool) -> Tensor: ...
@overload
def dropout(x: Rows, probability: float, training: bool) -> Rows: ...
def dropout(x: Rows, probability: float, training: bool) -> Rows:
    """Inverted dropout; a zero stays one either way, so only stored values are drawn for."""
    if probability == 0 or not training:
        return x
    if isinstance(x, Tensor):
        return _dropped(x, probability)
    return replace(x, values=_dropped(x.values, probability), dense=_dropped(x.dense, probability))


def _dropped(x: Tensor, probability: float) -> Tensor:
    """As torch's own, whose draws on a CPU cost three times these."""
    return x * ((torch.rand_like(x) >= probability) / (1 - probability))


def only_features(x: Rows, num_features: int) -> Rows:
    """The rows (B, F + P) with zeros for positions."""
    if isinstance(x, SparseRows):
        return replace(x, dense=torch.zeros_like(x.dense))
    return torch.cat([x[:, :num_features], torch.zeros_like(x[:, num_features:])], dim=1)


def drop_positions(x: Rows, num_features: int, dropped: Tensor) -> Rows:
    """The rows (B, F + P), with zeros for positions where `dropped` (B,) is true; sparse features are
    not copied."""
    marks = dropped.unsqueeze(1)
    if isinstance(x, SparseRows):
        return replace(x, dense=x.dense.masked_fill(marks, 0))
    return torch.cat([x[:, :num_features], x[:, num_features:].masked_fill(marks, 0)], dim=1)


def only_positions(x: Rows, num_features: int) -> Rows:
    """The rows (B, F + P) with zeros for features."""
    if isinstance(x, SparseRows):
        return SparseRows(torch.zeros_like(x.offsets), x.columns[:0], x.values[:0], x.num_columns, x.dense)
    return torch.cat([torch.zeros_like(x[:, :num_features]), x[:, num_features:]], dim=1)


def weighted_sums(weights: Tensor, x: Rows) -> Tensor:
    """Σ_b w_be x_b for each e: weights (B, E) and rows (B, D) give (E, D).

    Of sparse rows one e after another, so that there never are E times as many numbers as stored values.
    """
    if isinstance(x, Tensor):
        return weights.T @ x
    rows, nothing = x.row_of_each(), weights.new_zeros(x.num_columns)
    sums = [nothing.index_add(0, x.columns, each[rows] * x.values) for each in weights.T]
    return torch.cat([torch.stack(sums), weights.T @ x.dense], dim=1)


def to_dense(x: Rows) -> Tensor:
    """The rows as a matrix (B, D)."""
    if isinstance(x, Tensor):
        return x
    nothing = x.values.new_zeros(len(x), x.num_columns)
    return torch.cat([nothing.index_put((x.row_of_each(), x.columns), x.values), x.dense], dim=1)


def dense_row(x: Rows, row: int) -> Tensor:
    """One row as a vector (D,)."""
    return x[row] if isinstance(x, Tensor) else to_dense(x[torch.tensor([row], device=x.device)])[0]


def column_means(x: Rows) -> Tensor:
    """Mean of each column, (D,)."""
    if isinstance(x, Tensor):
        return x.mean(dim=0)
    return weighted_sums(x.dense.new_ones(len(x), 1), x)[0] / len(x)


def column_deviation(x: Rows) -> Tensor:
    """Population standard deviation of each column, (D,)."""
    if isinstance(x, Tensor):
        return x.std(dim=0, correction=0)
    squares = column_means(replace(x, values=x.values**2, dense=x.dense**2))
    return (squares - column_means(x) ** 2).clamp_min(0).sqrt()
