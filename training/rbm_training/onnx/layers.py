"""One layer as ONNX operators: plain, and a mixture of experts three times: dense, grouped and sparse. The
first two may follow the choice of another layer.

Dimension letters: B batch, F features, S entries of a padded row, P position width, D layer input, H layer
output, W columns of a router's matrix, E experts, K experts per row.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import TensorProto

from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import DenseInput, Floats, LayerInput, SparseInput
from rbm_training.onnx.router import Choice, Router

Form = Literal["grouped", "dense"]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """A layer ready for inference; one without a router is its only expert, or follows another layer.

    Shapes: weight (E, D, H), bias (E, H).
    """

    weight: Floats
    bias: Floats
    router: Router | None


@dataclass(frozen=True, slots=True)
class SortedPairs:
    """Names of the numbers of all B·K (row, expert) pairs sorted by expert, (B·K,), and of how many of them
    each expert has, (E,)."""

    numbers: str
    sizes: str


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """The name of a layer's output (B, H), the choice of experts where it had one, and its pairs where they
    are sorted."""

    name: str
    choice: Choice | None = None
    pairs: SortedPairs | None = None


def add_layer(graph: GraphBuilder, x: LayerInput, layer: LayerWeights, form: Form) -> LayerOutput:
    """A layer in the form that its graph has, its features' and its own number of experts."""
    if layer.router is None:
        return plain_layer(graph, x, layer)
    if isinstance(x, SparseInput):
        return sparse_mixture(graph, x, layer, layer.router)
    mixture = dense_mixture if form == "dense" else grouped_mixture
    return mixture(graph, x, layer, layer.router)


def follow(
    graph: GraphBuilder, x: DenseInput, layer: LayerWeights, before: LayerOutput, form: Form
) -> LayerOutput:
    """A mixture whose rows stay with the experts of the layer before, and with their weights."""
    choice = before.choice
    assert choice is not None, "the layer before has routed, or followed another"
    if form == "dense":
        gates = graph.add("Unsqueeze", _gates(graph, choice), graph.integers(1))  # (B, 1, E)
        mixed = _gated_product(graph, x.rows, layer.weight, layer.bias, gates)
        return LayerOutput(graph.add("Squeeze", mixed, graph.integers(1)), choice)
    pairs = before.pairs or _sort_pairs(graph, choice.experts, len(layer.weight))
    return _grouped(graph, x, layer, choice, pairs)


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
    choice = router.choose(graph, x.project(graph, router.matrix, router.bias, router.reads), x)
    return _grouped(graph, x, layer, choice, _sort_pairs(graph, choice.experts, len(layer.weight)))


def _grouped(
    graph: GraphBuilder, x: DenseInput, layer: LayerWeights, choice: Choice, pairs: SortedPairs
) -> LayerOutput:
    E, K = len(layer.weight), choice.top_k
    rows = graph.add("Gather", x.rows, graph.add("Div", pairs.numbers, graph.integers(K)), axis=0)  # (B·K, D)
    slices = graph.add_many("Split", E, rows, pairs.sizes, axis=0)
    outputs = [
        graph.add("Gemm", part, graph.constant(layer.weight[e]), graph.constant(layer.bias[e]))
        for e, part in enumerate(slices)
    ]
    by_expert = graph.add("Concat", *outputs, axis=0)  # (B·K, H)
    mixed = _mix(graph, by_expert, pairs.numbers, choice.weights, (K, layer.weight.shape[2]))
    return LayerOutput(mixed, choice, pairs)


def _sort_pairs(graph: GraphBuilder, experts: str, num_experts: int) -> SortedPairs:
    """Sort the pairs of the chosen experts (B, K).

    The places of the ones in a table of experts by pairs are sorted already; a TopK would take longer. The
    ones are floats because the CPU provider is slow to add integers up.
    """
    flat = graph.add("Reshape", experts, graph.integers(-1))  # (B·K,)
    depth, off_and_on = graph.constant(num_experts, np.int64), graph.constant([0, 1])
    chosen = graph.add("OneHot", flat, depth, off_and_on, axis=0)  # (E, B·K)
    places = graph.add("NonZero", chosen)  # (2, B·K): experts, and their pairs
    pairs = graph.add("Gather", places, graph.constant(1, np.int64), axis=0)
    counts = graph.add("ReduceSum", chosen, graph.integers(1), keepdims=0)
    return SortedPairs(pairs, graph.add("Cast", counts, to=TensorProto.INT64))


def _mix(graph: GraphBuilder, by_expert: str, pairs: str, weights: str, sizes: tuple[int, int]) -> str:
    """Σ_k w_k · output of the row's k-th expert, (B, H), from outputs sorted by expert and `sizes` (K, H).

    Each output goes to the place of its pair; every place is written once, so what was there does not count.
    (A scatter that adds up would take fewer operators, but its threads overwrite each other's sums.) Then K
    blocks side by side are added, faster than a ReduceSum.
    """
    K, H = sizes
    outputs = graph.add("ScatterND", by_expert, graph.add("Unsqueeze", pairs, graph.integers(1)), by_expert)
    weighted = graph.add("Mul", outputs, graph.add("Reshape", weights, graph.integers(-1, 1)))  # (B·K, H)
    side_by_side = graph.add("Reshape", weighted, graph.integers(-1, K * H))  # (B, K·H)
    return graph.add("Sum", *graph.add_many("Split", K, side_by_side, graph.integers(*[H] * K), axis=1))


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
    return _gated_product(graph, positions, weight, bias, gates)


def _gated_product(graph: GraphBuilder, x: str, weight: Floats, bias: Floats, gates: str) -> str:
    """Σ_e g_e (x W_e + b_e) from one product with every expert, (B, 1, H): x (B, D) and gates (B, 1, E)."""
    E, _, H = weight.shape
    columns = weight.transpose(1, 0, 2).reshape(-1, E * H)  # (D, E·H)
    product = graph.add("Gemm", x, graph.constant(columns), graph.constant(bias.reshape(-1)))
    return graph.add("MatMul", gates, graph.add("Reshape", product, graph.integers(0, E, H)))


def _gates(graph: GraphBuilder, choice: Choice) -> str:
    """The weight of every expert, zero for those not chosen, (B, E)."""
    no_gates = graph.add("Mul", choice.scores, graph.constant(0.0))
    return graph.add("ScatterElements", no_gates, choice.experts, choice.weights, axis=1)
