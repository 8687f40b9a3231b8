"""What the hand-built graphs are made of: a builder of ONNX models, and the steps that all layers share.

Dimension letters: B batch, D layer input, H layer output, E experts, K experts per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from rbm_bundle.manifest import TensorSpec
from rbm_training.rows import EPSILON

OPSET = 21
IR_VERSION = 10


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """A layer ready for inference: scale and gains folded in.

    Shapes: weight (E, D, H), bias (E, H), memory (E, D) unit rows; all float32.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    memory: npt.NDArray[np.float32]
    experts_per_row: int


@dataclass(frozen=True, slots=True)
class Routed:
    """Names of what a layer puts out: output (B, H); experts, weights, similarity (B, K)."""

    output: str
    experts: str
    weights: str
    similarity: str


class GraphBuilder:
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
        """A constant tensor."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        """A constant vector of integers."""
        return self.constant(np.array(values, np.int64), np.int64)

    def serialise(self, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
        """The whole model, checked."""
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
    # The second free size, of the sparse inputs alone, is the longest row's.
    shape = [size if size is not None else "BS"[place] for place, size in enumerate(spec.shape)]
    return helper.make_tensor_value_info(spec.name, element, shape)


def row_norms(graph: GraphBuilder, x: str, width: int) -> str:
    """max(‖x‖, ε), (B, 1); a product with ones, since ReduceL2 is slow on the CPU provider."""
    squares = graph.add("MatMul", graph.add("Mul", x, x), graph.constant(np.ones((width, 1))))
    return graph.add("Max", graph.add("Sqrt", squares), graph.constant(EPSILON))


def choose_experts(graph: GraphBuilder, scores: str, norms: str, layer: LayerWeights) -> tuple[str, str, str]:
    """Top K experts by cosine (ties to the lowest index), their weights and similarities, (B, K) each."""
    cosines = graph.add("Div", scores, norms)
    similarity, experts = graph.add_many("TopK", 2, cosines, graph.integers(layer.experts_per_row), axis=-1)
    return experts, graph.add("Softmax", similarity, axis=-1), similarity
