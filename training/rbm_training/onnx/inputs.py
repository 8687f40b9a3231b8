"""What a layer reads, by the names it has in a graph: rows that are dense, or sparse beside dense positions.

Either can be multiplied with a matrix and knows the squares of its rows; routers and plain layers need no
more. Dimension letters: B batch, F features, S entries of a padded row, P position width, D layer input, W
columns of a matrix.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rbm_training.data.sparse_rows import EPSILON
from rbm_training.onnx.builder import GraphBuilder

Floats = npt.NDArray[np.float32]
Reads = Literal["all", "features", "positions"]


@dataclass(frozen=True, slots=True)
class DenseInput:
    """Rows (B, D); in the first layer features (B, F) and, to their right, positions where there are any."""

    rows: str
    width: int
    num_features: int = 0

    def _part(self, graph: GraphBuilder, reads: Reads) -> tuple[str, slice]:
        """A block, and the columns of the input that it is."""
        F, D = self.num_features, self.width
        if reads == "all":
            return self.rows, slice(0, D)
        features, positions = graph.add_many("Split", 2, self.rows, graph.integers(F, D - F), axis=1)
        return (features, slice(0, F)) if reads == "features" else (positions, slice(F, D))

    def project(self, graph: GraphBuilder, matrix: Floats, bias: Floats, reads: Reads = "all") -> str:
        """x M + b of a part of each row: M (D, W) and b (W,) give (B, W)."""
        part, columns = self._part(graph, reads)
        if bias.any():
            return graph.add("Gemm", part, graph.constant(matrix[columns]), graph.constant(bias))
        return graph.add("MatMul", part, graph.constant(matrix[columns]))

    def squares(self, graph: GraphBuilder, reads: Reads) -> str:
        """‖x‖² of a part of each row, (B, 1)."""
        part, columns = self._part(graph, reads)
        return square_sums(graph, part, columns.stop - columns.start)


@dataclass(frozen=True, slots=True)
class SparseInput:
    """Columns and values (B, S) of features, and positions (B, P) where there are any."""

    ids: str
    values: str
    positions: str | None
    num_features: int

    def project(self, graph: GraphBuilder, matrix: Floats, bias: Floats, reads: Reads = "all") -> str:
        """x M + b of a part of each row, of M only the rows of the columns present."""
        words = self._words(graph, matrix) if reads != "positions" else None
        if self.positions is None or reads == "features":
            assert words is not None, "a layer reads positions, which its input does not have"
            return graph.add("Add", words, graph.constant(bias)) if bias.any() else words
        dense = DenseInput(self.positions, len(matrix) - self.num_features)
        places = dense.project(graph, matrix[self.num_features :], bias)
        return graph.add("Add", words, places) if words else places

    def _words(self, graph: GraphBuilder, matrix: Floats) -> str:
        """Padding reads one row more, of zeros."""
        table = np.pad(matrix[: self.num_features], ((0, 1), (0, 0)))  # (F+1, W)
        read = graph.add("Gather", graph.constant(table), self.ids, axis=0)  # (B, S, W)
        row = graph.add("Unsqueeze", self.values, graph.integers(1))  # (B, 1, S)
        return graph.add("Squeeze", graph.add("MatMul", row, read), graph.integers(1))

    def squares(self, graph: GraphBuilder, reads: Reads) -> str:
        """‖x‖² of a part of each row, (B, 1)."""
        blocks = {"features": self.values, "positions": self.positions}
        parts = [block for name, block in blocks.items() if block is not None and reads in ("all", name)]
        squares = [graph.add("Mul", part, part) for part in parts]
        sums = [graph.add("ReduceSum", square, graph.integers(1), keepdims=1) for square in squares]
        return graph.add("Add", *sums) if len(sums) > 1 else sums[0]


LayerInput = DenseInput | SparseInput


def square_sums(graph: GraphBuilder, x: str, width: int) -> str:
    """‖x‖² of rows (B, width), (B, 1); a product with ones, since ReduceL2 is slow on the CPU provider."""
    return graph.add("MatMul", graph.add("Mul", x, x), graph.constant(np.ones((width, 1))))


def norms(graph: GraphBuilder, squares: str) -> str:
    """max(‖x‖, ε) from ‖x‖². (LpNormalization would be one operator for four, but knows no ε.)"""
    return graph.add("Max", graph.add("Sqrt", squares), graph.constant(EPSILON))
