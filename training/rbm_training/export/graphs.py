"""The student as two hand-built ONNX graphs, from one checkpoint.

*Grouped*, for the CPU provider: rows are sorted by expert and only the chosen experts are computed; one
graph is the fastest form from one row to thousands. *Dense*, for the CUDA provider: every expert is
computed and gated; no shape depends on data, so nothing runs on the host and the graph can be captured.
Both have the same inputs and outputs, which the manifest lists.

Dimension letters: B batch, F features, P position width, D layer input, H layer output, E experts, K experts
per row, C classes, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from rbm_bundle.manifest import TensorSpec
from rbm_training.scaling import EPSILON
from rbm_training.students.rbm import RbMStudent

OPSET = 21
IR_VERSION = 10
Form = Literal["grouped", "dense"]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """A layer ready for inference: scale and gains folded in.

    Shapes: weight (E, D, H), bias (E, H), memory (E, D) unit rows; all float32.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    memory: npt.NDArray[np.float32]
    experts_per_row: int


def fold_layers(student: RbMStudent) -> list[LayerWeights]:
    """Each layer's weights with exp(ϑ) and exp(A) multiplied in, folded in float64."""
    folded = []
    for layer in student.routed_layers():
        scale = layer.scale().double()
        folded.append(
            LayerWeights(
                weight=float32_array(scale * layer.effective_weight().double()),
                bias=float32_array(scale * layer.bias.double()),
                memory=float32_array(layer.memory),
                experts_per_row=layer.experts_per_row,
            )
        )
    return folded


def float32_array(values: Tensor) -> npt.NDArray[np.float32]:
    """A tensor of any device and precision as a float32 array."""
    return values.detach().cpu().numpy().astype(np.float32)


def tensor_specs(student: RbMStudent) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs that both graphs have; `positions` only where there are any."""
    layers = student.routed_layers()
    num_classes = layers[-1].weight.shape[2]
    inputs = [TensorSpec(name="features", dtype="float32", shape=(None, student.num_features))]
    if student.position_width:
        inputs.append(TensorSpec(name="positions", dtype="float32", shape=(None, student.position_width)))
    L, K = len(layers), layers[0].experts_per_row
    outputs = [
        TensorSpec(name="logits", dtype="float32", shape=(None, num_classes)),
        TensorSpec(name="probabilities", dtype="float32", shape=(None, num_classes)),
        TensorSpec(name="experts", dtype="int64", shape=(None, L, K)),
        TensorSpec(name="weights", dtype="float32", shape=(None, L, K)),
        TensorSpec(name="similarity", dtype="float32", shape=(None, L, K)),
    ]
    return tuple(inputs), tuple(outputs)


def build_graph(student: RbMStudent, form: Form) -> bytes:
    """The serialised ONNX model of a routed student in one of the two forms."""
    graph = _Graph()
    hidden = _scaled_inputs(graph, student)
    experts, weights, similarity = [], [], []
    for index, layer in enumerate(fold_layers(student)):
        inputs = hidden if index == 0 else graph.add("Relu", hidden)
        routed = (
            _dense_layer(graph, inputs, layer) if form == "dense" else _grouped_layer(graph, inputs, layer)
        )
        hidden = routed.output
        experts.append(routed.experts)
        weights.append(routed.weights)
        similarity.append(routed.similarity)
    graph.add("Identity", hidden, name="logits")
    graph.add("Softmax", _calibrated(graph, student, hidden), name="probabilities", axis=-1)
    for name, parts in (("experts", experts), ("weights", weights), ("similarity", similarity)):
        _stack_layers(graph, parts, name)
    return graph.serialise(f"rbm_{form}", *tensor_specs(student))


@dataclass(frozen=True, slots=True)
class _Routed:
    """Names of what a layer puts out: output (B, H); experts, weights, similarity (B, K)."""

    output: str
    experts: str
    weights: str
    similarity: str


class _Graph:
    """Collects nodes and constants; every value gets a fresh name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:  # noqa: ANN401
        """A node of one output, which it names."""
        output = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def add_many(self, op: str, num_outputs: int, *inputs: str, **attributes: Any) -> list[str]:  # noqa: ANN401
        """A node of several outputs."""
        outputs = [f"{op.lower()}_{len(self.nodes)}_{index}" for index in range(num_outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, **attributes))
        return outputs

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), np.int64)

    def serialise(self, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            name,
            [_value(spec) for spec in inputs],
            [_value(spec) for spec in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rbm")
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    element = TensorProto.INT64 if spec.dtype == "int64" else TensorProto.FLOAT
    return helper.make_tensor_value_info(spec.name, element, ["B" if d is None else d for d in spec.shape])


def _row_norms(graph: _Graph, x: str, width: int) -> str:
    """max(‖x‖, ε), (B, 1); a product with ones, since ReduceL2 is slow on the CPU provider."""
    squares = graph.add("MatMul", graph.add("Mul", x, x), graph.constant(np.ones((width, 1))))
    return graph.add("Max", graph.add("Sqrt", squares), graph.constant(EPSILON))


def _scaled_inputs(graph: _Graph, student: RbMStudent) -> str:
    scaling = student.scaling
    features = "features"
    if scaling.features == "l2":
        features = graph.add("Div", features, _row_norms(graph, features, student.num_features))
    elif scaling.features == "standardised":
        centred = graph.add("Sub", features, graph.constant(scaling.mean.cpu().numpy()))
        features = graph.add("Div", centred, graph.constant(scaling.deviation.cpu().numpy()))
    if student.position_width == 0:
        return features
    positions = "positions"
    if scaling.position_norm is not None:
        unit = graph.add("Div", positions, _row_norms(graph, positions, student.position_width))
        positions = graph.add("Mul", unit, graph.constant(scaling.position_norm))
    return graph.add("Concat", features, positions, axis=1)


def _calibrated(graph: _Graph, student: RbMStudent, logits: str) -> str:
    return graph.add("Div", logits, graph.constant(float(student.temperature)))


def _choose(graph: _Graph, scores: str, x: str, layer: LayerWeights) -> tuple[str, str, str]:
    """Top K experts by cosine (ties to the lowest index), their weights and similarities, (B, K) each."""
    cosines = graph.add("Div", scores, _row_norms(graph, x, layer.memory.shape[1]))
    similarity, experts = graph.add_many("TopK", 2, cosines, graph.integers(layer.experts_per_row), axis=-1)
    return experts, graph.add("Softmax", similarity, axis=-1), similarity


def _dense_layer(graph: _Graph, x: str, layer: LayerWeights) -> _Routed:
    """Every expert and the router in one Gemm; gates are zero for experts not chosen."""
    E, D, H = layer.weight.shape
    columns = np.concatenate([layer.weight.transpose(1, 0, 2).reshape(D, E * H), layer.memory.T], axis=1)
    bias = np.concatenate([layer.bias.reshape(-1), np.zeros(E, np.float32)])
    product = graph.add("Gemm", x, graph.constant(columns), graph.constant(bias))
    flat, scores = graph.add_many("Split", 2, product, graph.integers(E * H, E), axis=1)
    experts, weights, similarity = _choose(graph, scores, x, layer)
    no_gates = graph.add("Mul", scores, graph.constant(0.0))
    gates = graph.add("ScatterElements", no_gates, experts, weights, axis=1)  # (B, E)
    every_expert = graph.add("Reshape", flat, graph.integers(0, E, H))  # (B, E, H)
    mixed = graph.add("MatMul", graph.add("Unsqueeze", gates, graph.integers(1)), every_expert)  # (B, 1, H)
    return _Routed(graph.add("Squeeze", mixed, graph.integers(1)), experts, weights, similarity)


def _grouped_layer(graph: _Graph, x: str, layer: LayerWeights) -> _Routed:
    """Sort the B·K (row, expert) pairs by expert, one Gemm an expert on its slice, put back in order."""
    E, K = len(layer.weight), layer.experts_per_row
    scores = graph.add("MatMul", x, graph.constant(layer.memory.T))
    experts, weights, similarity = _choose(graph, scores, x, layer)
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
    return _Routed(_mix(graph, by_expert, inverse, weights, K), experts, weights, similarity)


def _mix(graph: _Graph, by_expert: str, inverse: str, weights: str, K: int) -> str:
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


def _stack_layers(graph: _Graph, parts: list[str], name: str) -> None:
    axis = graph.integers(1)
    graph.add(
        "Concat", *(graph.add("Unsqueeze", part, axis) for part in parts), name=name, axis=1
    )  # (B, L, K)
