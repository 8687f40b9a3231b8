"""Changes to the graph of a bundle that make it one that must not be run."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def edit_model(edit: Callable[[onnx.ModelProto], object], raw: bytes) -> bytes:
    model = onnx.load_model_from_string(raw)
    edit(model)
    return model.SerializeToString()


def custom_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[0].domain = "com.example"


def weight_of(model: onnx.ModelProto) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)


def external_data(model: onnx.ModelProto) -> None:
    onnx.external_data_helper.set_external_data(weight_of(model), "../../../etc/passwd")
    weight_of(model).ClearField("raw_data")


def nan_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = np.full_like(numpy_helper.to_array(tensor), np.nan)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["scores"]))
    output = next(output for output in model.graph.output if output.name == "logits")
    output.name = "scores"


def huge_tensor(model: onnx.ModelProto) -> None:
    """The logits, and on top of them the sum of a tensor that the graph makes from its shape alone."""
    nodes = model.graph.node
    place = next(index for index, node in enumerate(nodes) if "logits" in node.output)
    nodes[place].output[0] = "small"
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**60]), "shape"))
    added = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Add", ["small", "sum"], ["logits"]),
    ]
    rest = list(nodes)[place + 1 :]
    del nodes[place + 1 :]
    nodes.extend([*added, *rest])
