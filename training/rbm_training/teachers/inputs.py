"""A graph as the networks read it. Dimension letters: N nodes, M directed edges, F features."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from rbm_training.data.graph import Graph
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import Rows, rows_of, to_multiply


@dataclass(frozen=True, slots=True)
class Edges:
    """Who hears whom: every edge, and each node once as its own neighbour.

    Shapes: index (2, M + N), sources and targets; weight (M + N,), 1/√(d_u d_v) with d the number of a
    node's neighbours, itself included (Kipf & Welling 2017).
    """

    index: Tensor
    weight: Tensor


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """Scaled features (N, F), dense or sparse, and the edges among their nodes."""

    features: Rows
    edges: Edges


def connect(edge_index: Tensor, num_nodes: int) -> Edges:
    """Edges from an edge index (2, M) without loops."""
    return Edges(*gcn_norm(edge_index, num_nodes=num_nodes, add_self_loops=True))


def graph_inputs(graph: Graph, scaling: InputScaling, device: torch.device) -> GraphInputs:
    """A graph and its features on a device."""
    edges = connect(torch.from_numpy(graph.edge_index).to(device), graph.num_nodes)
    return GraphInputs(to_multiply(scaling.scale_features(rows_of(graph.features, device))), edges)
