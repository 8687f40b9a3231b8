"""The student as two hand-built ONNX graphs, from one checkpoint.

*Grouped*, for the CPU provider: rows are sorted by expert and only the chosen experts are computed; one
graph is the fastest form from one row to thousands. *Dense*, for the CUDA provider: every expert is
computed and gated; no shape depends on data, so nothing runs on the host and the graph can be captured.
A layer of one expert is one product in either.
Both have the same inputs and outputs, which the manifest lists. Features that are mostly zeros go in as
columns and values; the first layer of either graph then reads only what those columns need.

Dimension letters: B batch, S entries of a padded row, K experts per row, L layers, without those that follow
the first one.
"""

from rbm_bundle.manifest_parts import FeatureForm, TensorSpec
from rbm_training.export.inputs import dense_input, sparse_input
from rbm_training.export.outputs import put_out
from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import DenseInput, LayerInput
from rbm_training.onnx.layers import Form, follow
from rbm_training.students.folding import fold_layer
from rbm_training.students.kind import student_kind
from rbm_training.students.student import Student


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
    L, K = len(student.routing_layers()), max(layer.top_k for layer in layers)
    outputs = [
        TensorSpec(name="logits", dtype="float32", shape=(None, num_classes)),
        TensorSpec(name="probabilities", dtype="float32", shape=(None, num_classes)),
        TensorSpec(name="experts", dtype="int64", shape=(None, L, K)),
        TensorSpec(name="weights", dtype="float32", shape=(None, L, K)),
        TensorSpec(name="similarity", dtype="float32", shape=(None, L, K)),
    ]
    return tuple(inputs), tuple(outputs)


def build_graph(student: Student, form: Form, features: FeatureForm) -> bytes:
    """The serialised ONNX model of a trained student in one of the two forms, for features in one of two."""
    graph, kind = GraphBuilder(), student_kind(student.kind)
    x: LayerInput = sparse_input(graph, student) if features == "sparse" else dense_input(graph, student)
    first, *others = student.expert_layers()
    output = kind.add_layer(graph, x, first, form)
    choices = [output.choice]
    for layer in others:
        hidden = DenseInput(graph.add("Relu", output.name), layer.weight.shape[1])
        if layer.follows:
            output = follow(graph, hidden, fold_layer(layer, None), output, form)
        else:
            output = kind.add_layer(graph, hidden, layer, form)
            choices.append(output.choice)
    put_out(graph, output.name, choices, float(student.temperature))
    return graph.serialise(f"rbm_{form}", *tensor_specs(student, features))
