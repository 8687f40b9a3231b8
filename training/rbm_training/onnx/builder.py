"""What the hand-built graphs are made with: a builder of ONNX models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from rbm_bundle.manifest_parts import TensorSpec

OPSET = 21
IR_VERSION = 10


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
        """A constant tensor; a number is one of no dimensions."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype, order="C"), name))
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
