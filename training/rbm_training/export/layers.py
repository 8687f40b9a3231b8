"""One layer as ONNX operators: plain, and a mixture of experts three times: dense, grouped and sparse.

Dimension letters: B batch, F features, S entries of a padded row, P position width, D layer input, H layer
output, W columns of a router's matrix, E experts, K experts per row.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from rbm_training.export.builder import GraphBuilder
from rbm_training.export.folding import LayerWeights
from rbm_training.export.inputs import DenseInput, Floats, LayerInput, SparseInput
from rbm_training.export.routers import Choice, Router


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """The name of a layer's output (B, H), and its choice of experts where it had one."""

    name: str
    choice: Choice | None = None


def plain_layer(graph: GraphBuilder, x: LayerInput, layer: LayerWeights) -> LayerOutput:
    """One expert: one product."""
    return LayerOutput(x.project(graph, layer.weight[0], layer.bias[0]))


def dense_mixture(graph: GraphBuilder, x: DenseInput, layer: LayerWeights, router: Router) -> LayerOutput:
    """Every expert and the router in one Gemm; gates are zero for experts not chosen."""
    E, D, H = layer.weight.shape
    W = router.matrix.shape[1]
    columns = np.concatenate([layer.weight.transpose(1, 0, 2).reshape(D, E * H), router.matrix], axis=1)
    bias = np.concatenate([layer.bias.reshape(-1), router.bias])
    product = graph.add("Gemm", x.rows, graph.constant(columns), graph.constant(bias))
    flat, projected = graph.add_many("Split", 2, product, graph.integers(E * H, W), axis=1)
    choice = router.choose(graph, projected, x)
    gates = graph.add("Unsqueeze", _gates(graph, choice), graph.integers(1))  # (B, 1, E)
    every_expert = graph.add("Reshape", flat, graph.integers(0, E, H))  # (B, E, H)
    mixed = graph.add("MatMul", gates, every_expert)  # (B, 1, H)
    return LayerOutput(graph.add("Squeeze", mixed, graph.integers(1)), choice)


def grouped_mixture(graph: GraphBuilder, x: DenseInput, layer: LayerWeights, router: Router) -> LayerOutput:
    """Sort the B·K (row, expert) pairs by expert, one Gemm an expert on its slice, put back in order."""
    E, K = len(layer.weight), router.experts_per_row
    choice = router.choose(graph, x.project(graph, router.matrix, router.bias, router.reads), x)
    flat = graph.add("Reshape", choice.experts, graph.integers(-1))  # (B·K,)
    num_pairs = graph.add("Shape", flat)
    _, order = graph.add_many("TopK", 2, flat, num_pairs, axis=0, largest=0, sorted=1)
    rows = graph.add("Gather", x.rows, graph.add("Div", order, graph.integers(K)), axis=0)  # (B·K, D)
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
    return LayerOutput(_mix(graph, by_expert, inverse, choice.weights, K), choice)


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


def sparse_mixture(graph: GraphBuilder, x: SparseInput, layer: LayerWeights, router: Router) -> LayerOutput:
    """A first layer that reads only the weights of the columns present, and only the chosen experts'.

    Row e·(F+1)+f of a table holds W_e[f]; row F of each expert, to which padding points, is zero. Static in
    everything but B and S, like the dense layer.
    """
    F = x.num_features
    choice = router.choose(graph, x.project(graph, router.matrix, router.bias, router.reads), x)
    table = np.pad(layer.weight[:, :F], ((0, 0), (0, 1), (0, 0)))  # (E, F+1, H)
    first_rows = graph.add("Mul", choice.experts, graph.integers(F + 1))  # (B, K)
    ids = graph.add(
        "Add",
        graph.add("Unsqueeze", first_rows, graph.integers(2)),
        graph.add("Unsqueeze", x.ids, graph.integers(1)),
    )  # (B, K, S)
    shares = graph.add(
        "Mul",
        graph.add("Unsqueeze", choice.weights, graph.integers(2)),
        graph.add("Unsqueeze", x.values, graph.integers(1)),
    )  # (B, K, S)
    H = table.shape[2]
    read = graph.add("Gather", graph.constant(table.reshape(-1, H)), ids, axis=0)  # (B, K, S, H)
    flat = graph.add("Reshape", read, graph.integers(0, -1, H))  # (B, K·S, H)
    words = graph.add("MatMul", graph.add("Reshape", shares, graph.integers(0, 1, -1)), flat)  # (B, 1, H)
    gates = graph.add("Unsqueeze", _gates(graph, choice), graph.integers(1))  # (B, 1, E)
    rest = _gated_rest(graph, x.positions, layer.weight[:, F:], layer.bias, gates)
    return LayerOutput(graph.add("Squeeze", graph.add("Add", words, rest), graph.integers(1)), choice)


def _gated_rest(graph: GraphBuilder, positions: str | None, weight: Floats, bias: Floats, gates: str) -> str:
    """What positions, by their weights (E, P, H), and biases add, gated as in the dense layer: (B, 1, H)."""
    if positions is None:
        return graph.add("MatMul", gates, graph.constant(bias))
    E, _, H = weight.shape
    columns = weight.transpose(1, 0, 2).reshape(-1, E * H)  # (P, E·H)
    product = graph.add("Gemm", positions, graph.constant(columns), graph.constant(bias.reshape(-1)))
    return graph.add("MatMul", gates, graph.add("Reshape", product, graph.integers(0, E, H)))


def _gates(graph: GraphBuilder, choice: Choice) -> str:
    """The weight of every expert, zero for those not chosen, (B, E)."""
    no_gates = graph.add("Mul", choice.scores, graph.constant(0.0))
    return graph.add("ScatterElements", no_gates, choice.experts, choice.weights, axis=1)
