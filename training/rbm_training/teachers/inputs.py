"""A graph as the networks read it. Dimension letters: N nodes, M directed edges, F features, H hidden."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from rbm_training.data.graph import Graph
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_product import ByColumn, row_of_each, sparse_product
from rbm_training.data.sparse_rows import Rows, rows_of, to_multiply


@dataclass(frozen=True, slots=True)
class Edges:
    """Every edge, and each node once as its own neighbour: compressed sparse rows of A + I.

    Shapes: offsets (N + 1,), where the edges into each node begin; sources and targets (M + N,); `by_source`
    the same edges by the node that they come from; weights of edges (M + N,): `mean` 1/d_v and `normalised`
    1/√(d_u d_v) (Kipf & Welling, ICLR 2017), for an edge from u to v, with d the number of a node's
    neighbours, itself included.
    """

    offsets: Tensor
    sources: Tensor
    targets: Tensor
    by_source: ByColumn
    mean: Tensor
    normalised: Tensor

    def sums(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Sum over a node's neighbours of rows (N, H), each times the weight of its edge (M + N,): (N, H).

        No message is stored for any edge, neither here nor for the gradients, which reach rows and weights.
        """
        return sparse_product(rows, self.offsets, self.sources, weights, self.by_source)

    def softmax(self, scores: Tensor) -> Tensor:
        """Shares that sum to 1 over the edges into each node, from scores (M + N,) of all edges."""
        largest = torch.segment_reduce(scores.detach(), "max", offsets=self.offsets)  # (N,)
        powers = (scores - largest.index_select(0, self.targets)).exp()
        totals = torch.segment_reduce(powers, "sum", offsets=self.offsets)
        return powers / totals.index_select(0, self.targets)


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """Scaled features (N, F), dense or sparse, and the edges among their nodes."""

    features: Rows
    edges: Edges


def connect(adjacency: sp.csr_array, device: torch.device) -> Edges:
    """Edges of an adjacency (N, N) that is symmetric and has no loops, on a device.

    Symmetric, it reads by columns as it does by rows: only the weights of the edges change places.
    """
    looped = sp.csr_array(adjacency + sp.eye_array(adjacency.shape[0]))
    looped.sort_indices()
    offsets, sources = (
        torch.from_numpy(part.astype(np.int64)).to(device) for part in (looped.indptr, looped.indices)
    )
    targets, degrees = row_of_each(offsets), offsets.diff()
    return Edges(
        offsets,
        sources,
        targets,
        by_source=ByColumn(offsets, places=sources.argsort(stable=True), rows=sources),
        mean=(1 / degrees)[targets],
        normalised=1 / (degrees[sources] * degrees[targets]).sqrt(),
    )


def graph_inputs(graph: Graph, scaling: InputScaling, device: torch.device) -> GraphInputs:
    """A graph and its features on a device."""
    features = to_multiply(scaling.scale_features(rows_of(graph.features, device)))
    return GraphInputs(features, connect(graph.adjacency, device))
