"""The student as two hand-built ONNX graphs, from one checkpoint.

*Grouped*, for the CPU provider: rows are sorted by expert and only the chosen experts are computed; one
graph is the fastest form from one row to thousands. *Dense*, for the CUDA provider: every expert is
computed and gated; no shape depends on data, so nothing runs on the host and the graph can be captured.
Both have the same inputs and outputs, which the manifest lists. Features that are mostly zeros go in as
columns and values; the first layer of either graph then reads only what those columns need.

Dimension letters: B batch, F features, S entries of a padded row, P position width, K experts per row, C
classes, L layers.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rbm_bundle.manifest import FeatureForm, TensorSpec
from rbm_training.export.builder import GraphBuilder, LayerWeights, Routed, row_norms
from rbm_training.export.layers import SparseInput, dense_layer, grouped_layer, sparse_layer
from rbm_training.rows import EPSILON
from rbm_training.students.student import Student

Form = Literal["grouped", "dense"]


def fold_layers(student: Student) -> list[LayerWeights]:
    """Each layer's weights with exp(ϑ) and exp(A) multiplied in, folded in float64."""
    folded = []
    for layer in student.memory_layers():
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


def tensor_specs(
    student: Student, features: FeatureForm
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs that both graphs have; `positions` only where there are any."""
    layers = student.expert_layers()
    num_classes = layers[-1].weight.shape[2]
    inputs = [TensorSpec(name="features", dtype="float32", shape=(None, student.num_features))]
    if features == "sparse":
        inputs = [
            TensorSpec(name="feature_ids", dtype="int64", shape=(None, None)),
            TensorSpec(name="feature_values", dtype="float32", shape=(None, None)),
        ]
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


def build_graph(student: Student, form: Form, features: FeatureForm) -> bytes:
    """The serialised ONNX model of a routed student in one of the two forms, for features in one of two."""
    graph = GraphBuilder()
    first, *others = fold_layers(student)
    layer_of = dense_layer if form == "dense" else grouped_layer
    if features == "sparse":
        routed = [sparse_layer(graph, _sparse_input(graph, student), first, student.num_features)]
    else:
        routed = [layer_of(graph, _dense_input(graph, student), first)]
    for layer in others:
        routed.append(layer_of(graph, graph.add("Relu", routed[-1].output), layer))
    _put_out(graph, student, routed)
    return graph.serialise(f"rbm_{form}", *tensor_specs(student, features))


def _put_out(graph: GraphBuilder, student: Student, routed: list[Routed]) -> None:
    logits = graph.add("Identity", routed[-1].output, name="logits")
    calibrated = graph.add("Div", logits, graph.constant(float(student.temperature)))
    graph.add("Softmax", calibrated, name="probabilities", axis=-1)
    _stack_layers(graph, [layer.experts for layer in routed], "experts")
    _stack_layers(graph, [layer.weights for layer in routed], "weights")
    _stack_layers(graph, [layer.similarity for layer in routed], "similarity")


def _dense_input(graph: GraphBuilder, student: Student) -> str:
    """Features and positions, scaled, (B, F + P)."""
    scaling = student.scaling
    features = "features"
    if scaling.features == "l2":
        features = graph.add("Div", features, row_norms(graph, features, student.num_features))
    elif scaling.features == "standardised":
        centred = graph.add("Sub", features, graph.constant(scaling.mean.cpu().numpy()))
        features = graph.add("Div", centred, graph.constant(scaling.deviation.cpu().numpy()))
    positions = _scaled_positions(graph, student)
    return graph.add("Concat", features, positions, axis=1) if positions else features


def _sparse_input(graph: GraphBuilder, student: Student) -> SparseInput:
    values = "feature_values"
    if student.scaling.features == "l2":
        squares = graph.add("Mul", values, values)
        norms = graph.add("Sqrt", graph.add("ReduceSum", squares, graph.integers(1), keepdims=1))
        values = graph.add("Div", values, graph.add("Max", norms, graph.constant(EPSILON)))
    return SparseInput("feature_ids", values, _scaled_positions(graph, student))


def _scaled_positions(graph: GraphBuilder, student: Student) -> str | None:
    if student.position_width == 0:
        return None
    if student.scaling.position_norm is None:
        return "positions"
    unit = graph.add("Div", "positions", row_norms(graph, "positions", student.position_width))
    return graph.add("Mul", unit, graph.constant(student.scaling.position_norm))


def _stack_layers(graph: GraphBuilder, parts: list[str], name: str) -> None:
    axis = graph.integers(1)
    graph.add(
        "Concat", *(graph.add("Unsqueeze", part, axis) for part in parts), name=name, axis=1
    )  # (B, L, K)
