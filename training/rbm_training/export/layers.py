"""One routed layer as ONNX operators, three times: dense, grouped, and sparse for a bag-of-words input.

Dimension letters: B batch, F features, P position width, S entries of a padded row, D layer input, H layer
output, E experts, K experts per row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from rbm_training.export.builder import GraphBuilder, LayerWeights, Routed, choose_experts, row_norms
from rbm_training.rows import EPSILON


def dense_layer(graph: GraphBuilder, x: str, layer: LayerWeights) -> Routed:
    """Every expert and the router in one Gemm; gates are zero for experts not chosen."""
    E, D, H = layer.weight.shape
    columns = np.concatenate([layer.weight.transpose(1, 0, 2).reshape(D, E * H), layer.memory.T], axis=1)
    bias = np.concatenate([layer.bias.reshape(-1), np.zeros(E, np.float32)])
    product = graph.add("Gemm", x, graph.constant(columns), graph.constant(bias))
    flat, scores = graph.add_many("Split", 2, product, graph.integers(E * H, E), axis=1)
    experts, weights, similarity = choose_experts(
        graph, scores, row_norms(graph, x, layer.memory.shape[1]), layer
    )
    gates = _gates(graph, scores, experts, weights)  # (B, E)
    every_expert = graph.add("Reshape", flat, graph.integers(0, E, H))  # (B, E, H)
    mixed = graph.add("MatMul", graph.add("Unsqueeze", gates, graph.integers(1)), every_expert)  # (B, 1, H)
    return Routed(graph.add("Squeeze", mixed, graph.integers(1)), experts, weights, similarity)


def grouped_layer(graph: GraphBuilder, x: str, layer: LayerWeights) -> Routed:
    """Sort the B·K (row, expert) pairs by expert, one Gemm an expert on its slice, put back in order."""
    E, K = len(layer.weight), layer.experts_per_row
    scores = graph.add("MatMul", x, graph.constant(layer.memory.T))
    experts, weights, similarity = choose_experts(
        graph, scores, row_norms(graph, x, layer.memory.shape[1]), layer
    )
    flat = graph.add("Reshape", experts, graph.integers(-1))  # (B·K,)
    num_pairs = graph.add("Shape", flat)
    _, order = graph.add_many("TopK", 2, flat, num_pairs, axis=0, largest=0, sorted=1)
    rows = graph.add("Gather", x, graph.add("Div", order, graph.integers(K)), axis=0)  # (B·K, D)
    chosen = graph.add("Equal", graph.add("Unsqueeze", flat, graph.integers(1)), graph.integers(*range(E)))
    ones = graph.add("Cast", chosen, to=TensorProto.INT64)  # (B·K, E)
    sizes = graph.add("ReduceSum", ones, graph.integers(0), keepdims=0)  # (E,)
    slices = graph.add_many("Split", E, rows, sizes, axis=0)
    outputs = [
        graph.add("Gemm", part, graph.constant(layer.weight[e]), graph.constant(layer.bias[e]))
        for e, part in enumerate(slices)
    ]
    by_expert = graph.add("Concat", *outputs, axis=0)  # (B·K, H), sorted by expert
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    counting = graph.add("Range", zero, graph.add("Squeeze", num_pairs, graph.integers(0)), one)
    inverse = graph.add("ScatterElements", order, order, counting, axis=0)
    return Routed(_mix(graph, by_expert, inverse, weights, K), experts, weights, similarity)


def _mix(graph: GraphBuilder, by_expert: str, inverse: str, weights: str, K: int) -> str:
    """Σ_k w_k · output of the row's k-th expert, (B, H); K products and sums, faster than a ReduceSum."""
    places = graph.add("Reshape", inverse, graph.integers(-1, K))  # (B, K)
    sizes = graph.integers(*[1] * K)
    each_place = graph.add_many("Split", K, places, sizes, axis=1)
    each_weight = graph.add_many("Split", K, weights, sizes, axis=1)
    mixed = ""
    for place, weight in zip(each_place, each_weight, strict=True):
        outputs = graph.add("Gather", by_expert, graph.add("Squeeze", place, graph.integers(1)), axis=0)
        weighted = graph.add("Mul", outputs, weight)
        mixed = graph.add("Add", mixed, weighted) if mixed else weighted
    return mixed


@dataclass(frozen=True, slots=True)
class SparseInput:
    """Names of a scaled sparse input: ids and values (B, S), positions (B, P) where there are any."""

    ids: str
    values: str
    positions: str | None


def sparse_layer(graph: GraphBuilder, x: SparseInput, layer: LayerWeights, num_features: int) -> Routed:
    """A first layer that reads only the weights of the columns present, and only the chosen experts'.

    Row e·(F+1)+f of a table holds W_e[f]; row F of each expert, to which padding points, is zero. Static in
    everything but B and S, like the dense layer.
    """
    scores = _sparse_scores(graph, x, layer, num_features)
    experts, weights, similarity = choose_experts(graph, scores, _norms(graph, x), layer)
    table = _padded(layer.weight[:, :num_features]).reshape(-1, layer.weight.shape[2])  # (E·(F+1), H)
    first_rows = graph.add("Mul", experts, graph.integers(num_features + 1))  # (B, K)
    ids = graph.add(
        "Add",
        graph.add("Unsqueeze", first_rows, graph.integers(2)),
        graph.add("Unsqueeze", x.ids, graph.integers(1)),
    )  # (B, K, S)
    shares = graph.add(
        "Mul",
        graph.add("Unsqueeze", weights, graph.integers(2)),
        graph.add("Unsqueeze", x.values, graph.integers(1)),
    )  # (B, K, S)
    read = graph.add("Gather", graph.constant(table), ids, axis=0)  # (B, K, S, H)
    flat = graph.add("Reshape", read, graph.integers(0, -1, table.shape[1]))  # (B, K·S, H)
    words = graph.add("MatMul", graph.add("Reshape", shares, graph.integers(0, 1, -1)), flat)  # (B, 1, H)
    gates = graph.add("Unsqueeze", _gates(graph, scores, experts, weights), graph.integers(1))  # (B, 1, E)
    mixed = graph.add("Add", words, _gated_rest(graph, x.positions, layer, num_features, gates))
    return Routed(graph.add("Squeeze", mixed, graph.integers(1)), experts, weights, similarity)


def _padded(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A zero row after the last of each expert: (E, F, ·) → (E, F+1, ·)."""
    return np.concatenate([rows, np.zeros_like(rows[:, :1])], axis=1)


def _sparse_scores(graph: GraphBuilder, x: SparseInput, layer: LayerWeights, num_features: int) -> str:
    """x · m̂_e of every expert, (B, E)."""
    memory = layer.memory  # (E, D)
    table = _padded(memory[:, :num_features, None])[:, :, 0].T  # (F+1, E)
    read = graph.add("Gather", graph.constant(table), x.ids, axis=0)  # (B, S, E)
    row = graph.add("Unsqueeze", x.values, graph.integers(1))  # (B, 1, S)
    scores = graph.add("Squeeze", graph.add("MatMul", row, read), graph.integers(1))
    if x.positions is None:
        return scores
    return graph.add(
        "Add", scores, graph.add("MatMul", x.positions, graph.constant(memory[:, num_features:].T))
    )


def _norms(graph: GraphBuilder, x: SparseInput) -> str:
    """max(‖x‖, ε) of both blocks together, (B, 1)."""
    squares = [graph.add("Mul", block, block) for block in (x.values, x.positions) if block is not None]
    sums = [graph.add("ReduceSum", square, graph.integers(1), keepdims=1) for square in squares]
    total = graph.add("Add", *sums) if len(sums) > 1 else sums[0]
    return graph.add("Max", graph.add("Sqrt", total), graph.constant(EPSILON))


def _gated_rest(
    graph: GraphBuilder, positions: str | None, layer: LayerWeights, num_features: int, gates: str
) -> str:
    """What positions and biases add, of every expert, gated as in the dense layer: (B, 1, H)."""
    if positions is None:
        return graph.add("MatMul", gates, graph.constant(layer.bias))
    E, _, H = layer.weight.shape
    columns = layer.weight[:, num_features:].transpose(1, 0, 2).reshape(-1, E * H)  # (P, E·H)
    product = graph.add("Gemm", positions, graph.constant(columns), graph.constant(layer.bias.reshape(-1)))
    return graph.add("MatMul", gates, graph.add("Reshape", product, graph.integers(0, E, H)))


def _gates(graph: GraphBuilder, scores: str, experts: str, weights: str) -> str:
    """The weight of every expert, zero for those not chosen, (B, E)."""
    no_gates = graph.add("Mul", scores, graph.constant(0.0))
    return graph.add("ScatterElements", no_gates, experts, weights, axis=1)
