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

    def squares(self, graph: GraphBuilder, reads: Reads, center: Floats | None = None) -> str:
        """‖x − c‖² of a part of each row, (B, 1): c (D,), or nothing to take off."""
        part, columns = self._part(graph, reads)
        if center is not None:
            part = graph.add("Sub", part, graph.constant(center[columns]))
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

    def squares(self, graph: GraphBuilder, reads: Reads, center: Floats | None = None) -> str:
        """‖x − c‖² of a part of each row, (B, 1): c (D,), or nothing to take off.

        Of the features it is Σ_s x_s (x_s − 2 c_s) + ‖c‖², from the columns present. In float32 that loses
        precision where ‖x − c‖ is many times smaller than ‖c‖. Rows of a bag of words are not so near to
        their mean; a graph that is off is refused at export.
        """
        F, parts = self.num_features, []
        if reads != "positions":
            parts.append((self.values, self._less_twice(graph, None if center is None else center[:F])))
        if reads != "features" and self.positions is not None:
            places = self.positions
            if center is not None:
                places = graph.add("Sub", places, graph.constant(center[F:]))
            parts.append((places, places))
        products = [graph.add("Mul", *part) for part in parts]
        sums = [graph.add("ReduceSum", product, graph.integers(1), keepdims=1) for product in products]
        total = graph.add("Add", *sums) if len(sums) > 1 else sums[0]
        if center is None or reads == "positions":
            return total
        own = graph.constant(np.square(center[:F], dtype=np.float64).sum())
        return graph.add("Relu", graph.add("Add", total, own))  # rounding may leave less than nothing

    def _less_twice(self, graph: GraphBuilder, center: Floats | None) -> str:
        """x_s − 2 c_s of the columns present, (B, S): c (F,), 0 for padding."""
        if center is None:
            return self.values
        twice = graph.add("Gather", graph.constant(np.pad(2 * center, (0, 1))), self.ids, axis=0)
        return graph.add("Sub", self.values, twice)


LayerInput = DenseInput | SparseInput


def square_sums(graph: GraphBuilder, x: str, width: int) -> str:
    """‖x‖² of rows (B, width), (B, 1); a product with ones, since ReduceL2 is slow on the CPU provider."""
    return graph.add("MatMul", graph.add("Mul", x, x), graph.constant(np.ones((width, 1))))


def norms(graph: GraphBuilder, squares: str) -> str:
    """max(‖x‖, ε) from ‖x‖². (LpNormalization would be one operator for four, but knows no ε.)"""
    return graph.add("Max", graph.add("Sqrt", squares), graph.constant(EPSILON))
