"""Sparse rows times a matrix, and the gradient of that: both are weighted sums of rows, bag by bag.

torch's own gradient of such sums writes them one stored value after another, which took a third of an epoch.
Read column by column, the gradient is a sum of the same kind as the product and costs the same.

Dimension letters: B rows, F columns, H output width, nnz stored values.
"""

from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ByColumn:
    """Where the stored values of some sparse rows are, column by column.

    Shapes: offsets (F+1,); places and rows (nnz,): which value it is, and the row it is in.
    """

    offsets: Tensor
    places: Tensor
    rows: Tensor


def by_column(offsets: Tensor, columns: Tensor, num_columns: int) -> ByColumn:
    """The layout by columns of what compressed sparse rows hold: offsets (B+1,), columns (nnz,)."""
    places = columns.argsort(stable=True)
    counts = torch.bincount(columns, minlength=num_columns)
    return ByColumn(F.pad(counts.cumsum(0), (1, 0)), places, row_of_each(offsets)[places])


def row_of_each(offsets: Tensor) -> Tensor:
    """The row that each stored value belongs to, (nnz,)."""
    counts = offsets.diff()
    return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)


def bag_sums(matrix: Tensor, offsets: Tensor, members: Tensor, weights: Tensor) -> Tensor:
    """For each bag the weighted sum of its members' rows of the matrix (any, H).

    Shapes: offsets (bags + 1,), members and weights (nnz,) → (bags, H).
    """
    return F.embedding_bag(
        members, matrix, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def sparse_product(
    weight: Tensor, offsets: Tensor, columns: Tensor, values: Tensor, layout: ByColumn | None
) -> Tensor:
    """x W, (B, H), for sparse x (B, F) and W (F, H); gradients reach W and the stored values.

    Args:
        layout: that of x, which spares the gradient of W the sorting.
    """
    if values.requires_grad and layout is None:  # torch's own gradient of W needs no sorting, only time
        return bag_sums(weight, offsets, columns, values)
    product = bag_sums(weight.detach(), offsets, columns, values)
    product = _GradientByColumn.apply(  # type: ignore[no-untyped-call]
        product, weight, offsets, columns, values, layout
    )
    return cast(Tensor, product)


class _Context(Protocol):
    """What torch keeps between the two passes."""

    saved_tensors: tuple[Tensor, ...]
    layout: ByColumn | None
    num_columns: int

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors as torch wants them kept."""


class _GradientByColumn(torch.autograd.Function):
    """The product as it is, to which W seems constant, and the gradient of W.

    The gradient goes on to the product unchanged, and from there to the values if somebody learns them.
    """

    @staticmethod
    def forward(
        ctx: _Context,
        product: Tensor,
        weight: Tensor,
        offsets: Tensor,
        columns: Tensor,
        values: Tensor,
        layout: ByColumn | None,
    ) -> Tensor:
        ctx.save_for_backward(offsets, columns, values)
        ctx.layout, ctx.num_columns = layout, len(weight)
        return product.view_as(product)

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        offsets, columns, values = ctx.saved_tensors
        layout = ctx.layout or by_column(offsets, columns, ctx.num_columns)
        (gradient,) = gradients
        transposed = bag_sums(
            gradient.contiguous(), layout.offsets, layout.rows, values.index_select(0, layout.places)
        )
        return gradient, transposed, None, None, None, None
