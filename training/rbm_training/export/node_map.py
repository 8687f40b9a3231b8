"""The map of a bundle: some of the known nodes in the plane of the last layer that compares its inputs.

Dimension letters: N known nodes, R mapped nodes, P position width, D width of what a layer compares.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from rbm_bundle.manifest_parts import MAX_MAP_NODES, MapSpec
from rbm_bundle.node_map import NodeMap
from rbm_training.data.graph import Floats, Graph
from rbm_training.data.sparse_rows import Rows, as_array, rows_of
from rbm_training.distillation.predictions import predict
from rbm_training.export.node_table import table_order
from rbm_training.export.plane import principal_plane
from rbm_training.students.student import Student

MAP_FILE: Final = "map.npz"


@torch.no_grad()
def build_node_map(student: Student, known: Graph, positions: Floats) -> NodeMap:
    """A map of as many nodes of a graph as a bundle takes, drawn at random but the same for the same graph.

    Shapes: positions (N, P), in the order of the graph's nodes, whose rows are those of their node table.
    """
    order = table_order(known)
    rows = np.sort(np.random.default_rng(0).permutation(known.num_nodes)[:MAX_MAP_NODES])
    nodes = order[rows]
    places = torch.from_numpy(positions[nodes])
    scaled = student.scaling(rows_of(known.features[nodes], student.device), places)
    output = predict(student, scaled)
    layer = _mapped_layer(student)
    anchors = student.expert_layers()[layer].anchors()
    routing = None if anchors is None else output.layers[layer]
    compared = as_array(_last_inputs(student, scaled) if routing is None else routing.query)
    plane = principal_plane(compared)
    return NodeMap(
        rows=rows.astype(np.int32),
        points=plane.project(compared).astype(np.float32),
        classes=_indices(output.logits.argmax(dim=1)),
        experts=None if routing is None else _indices(routing.experts[:, 0]),
        memory=None if anchors is None else plane.project(as_array(anchors)).astype(np.float32),
    )


def map_spec(student: Student, node_map: NodeMap) -> MapSpec:
    """What the manifest says of a map of this student."""
    return MapSpec(
        file=MAP_FILE,
        num_nodes=len(node_map.rows),
        layer=_mapped_layer(student),
        has_experts=node_map.experts is not None,
    )


def _mapped_layer(student: Student) -> int:
    """The last layer that compares its inputs with something, or the last of all where none does."""
    layers = student.expert_layers()
    comparing = [index for index, layer in enumerate(layers) if layer.anchors() is not None]
    return comparing[-1] if comparing else len(layers) - 1


def _last_inputs(student: Student, scaled: Rows) -> Rows:
    """What the last layer takes, (R, D)."""
    inputs = scaled
    for layer in student.expert_layers()[:-1]:
        inputs = layer(inputs)[0].relu()
    return inputs


def _indices(indices: torch.Tensor) -> npt.NDArray[np.int32]:
    return indices.numpy().astype(np.int32)
