"""What the first layer of a graph reads: features and positions, scaled as the student scales them.

Dimension letters: B batch, F features, P position width.
"""

import numpy as np

from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import DenseInput, SparseInput, norms, square_sums
from rbm_training.students.student import Student


def dense_input(graph: GraphBuilder, student: Student) -> DenseInput:
    """Features and positions, scaled, side by side."""
    features, scaling, F, P = "features", student.scaling, student.num_features, student.position_width
    if P and scaling.features == "l2" and scaling.position_norm is not None:
        return DenseInput(_scaled_together(graph, F, P, scaling.position_norm), F + P, F)
    if scaling.features == "l2":
        features = graph.add("Div", features, norms(graph, square_sums(graph, features, F)))
    elif scaling.features == "standardised":
        centred = graph.add("Sub", features, graph.constant(scaling.mean.cpu().numpy()))
        features = graph.add("Div", centred, graph.constant(scaling.deviation.cpu().numpy()))
    positions = _scaled_positions(graph, student)
    rows = graph.add("Concat", features, positions, axis=1) if positions else features
    return DenseInput(rows, F + P, F)


def _scaled_together(graph: GraphBuilder, F: int, P: int, position_norm: float) -> str:
    """Features of norm 1 beside positions of another, (B, F + P), by fewer operators than one by one."""
    rows = graph.add("Concat", "features", "positions", axis=1)
    blocks = np.repeat(np.eye(2), [F, P], axis=0)  # (F + P, 2), which block a column is of
    squares = graph.add("MatMul", graph.add("Mul", rows, rows), graph.constant(blocks))  # (B, 2)
    wanted = np.array([[1.0], [position_norm]])
    divisors = graph.add("MatMul", norms(graph, squares), graph.constant(blocks.T / wanted))  # (B, F + P)
    return graph.add("Div", rows, divisors)


def sparse_input(graph: GraphBuilder, student: Student) -> SparseInput:
    """The columns present and their values, and positions, scaled."""
    values = "feature_values"
    if student.scaling.features == "l2":
        squares = graph.add("Mul", values, values)
        sums = graph.add("ReduceSum", squares, graph.integers(1), keepdims=1)
        values = graph.add("Div", values, norms(graph, sums))
    return SparseInput("feature_ids", values, _scaled_positions(graph, student), student.num_features)


def _scaled_positions(graph: GraphBuilder, student: Student) -> str | None:
    width, norm = student.position_width, student.scaling.position_norm
    if width == 0:
        return None
    if norm is None:
        return "positions"
    unit = graph.add("Div", "positions", norms(graph, square_sums(graph, "positions", width)))
    return graph.add("Mul", unit, graph.constant(norm))
