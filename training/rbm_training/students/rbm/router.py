"""How a graph routes by memories: by cosines with them, or by distances to them.

Dimension letters: B batch, D layer input, R projection width, E experts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import DenseInput, Floats, LayerInput, Reads, norms
from rbm_training.onnx.router import Router, Scores
from rbm_training.students.folding import float32_array
from rbm_training.students.rbm.layer import RbMLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineRouter(Router):
    """Cosines of x − c with memories; the columns of the matrix are unit memories m̂, the bias is −<c, m̂>.

    Shapes: center c (D,), None where rows are compared as they are.
    """

    center: Floats | None

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """Products over the norms of the rows."""
        squares = x.squares(graph, self.reads, self.center)
        return Scores(graph.add("Div", product, norms(graph, squares)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceRouter(Router):
    """c_e = −‖x − m_e‖² / 2s² of memories m_e.

    With m̄ the mean memory, s² c_e = [x·(m_e − m̄) − (‖m_e‖² − ‖m̄‖²) / 2] + [x·m̄ − ‖m̄‖² / 2 − ‖x‖² / 2].
    Only the first bracket tells experts apart, and only it chooses and weighs them: the second may be many
    times larger, and in float32 its rounding would drown the differences. The matrix and bias hold the first
    bracket by s², and in their last column the second without ‖x‖².
    """

    spread: float

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """The products are the scores; the last of them and the norm are shared."""
        E = self.matrix.shape[1] - 1
        scores, constant = graph.add_many("Split", 2, product, graph.integers(E, 1), axis=1)
        halves = graph.constant(0.5 / self.spread)
        own = graph.add("Mul", x.squares(graph, self.reads), halves)
        return Scores(scores, graph.add("Sub", constant, own))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedRouter(Router):
    """What another router makes of a projection x G of the rows; the matrix is G (D, R), the bias zero."""

    of_projection: Router

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """The scores of the projection."""
        router, projected = self.of_projection, DenseInput(product, self.matrix.shape[1])
        return router.score(graph, projected.project(graph, router.matrix, router.bias), projected)


@torch.no_grad()
def memory_router(layer: RbMLayer) -> Router:
    """The router of a layer's memory."""
    router = _cosines(layer) if layer.metric == "cosine" else _distances(layer)
    if layer.projection is None:
        return router
    return ProjectedRouter(
        matrix=float32_array(layer.projection),
        bias=np.zeros(layer.projection.shape[1], np.float32),
        top_k=router.top_k,
        inverse_temperature=router.inverse_temperature,
        of_projection=router,
    )


def _cosines(layer: RbMLayer) -> CosineRouter:
    memory, center = _read(layer, layer.memory), layer.center
    bias = torch.zeros(layer.num_experts) if center is None else -memory.double() @ center.double()
    return CosineRouter(
        matrix=float32_array(memory.T),
        bias=float32_array(bias),
        center=None if center is None else float32_array(center),
        top_k=layer.top_k,
        inverse_temperature=1 / layer.routing_temperature,
        reads=_reads(layer),
    )


def _distances(layer: RbMLayer) -> DistanceRouter:
    memory, spread = layer.memory.double(), float(layer.spread)
    center = memory.mean(dim=0, keepdim=True)  # (1, D)
    columns = torch.cat([memory - center, center])  # (E+1, D)
    half_norms = memory.pow(2).sum(dim=1) / 2
    half_center = center.pow(2).sum(dim=1) / 2
    bias = torch.cat([half_center - half_norms, -half_center])
    return DistanceRouter(
        matrix=float32_array(_read(layer, columns).T / spread),
        bias=float32_array(bias / spread),
        top_k=layer.top_k,
        inverse_temperature=1 / layer.routing_temperature,
        reads=_reads(layer),
        spread=spread,
    )


def _reads(layer: RbMLayer) -> Reads:
    """The part of the rows, or of their projection, that is compared with memories."""
    return "all" if layer.routing_input == "projection" else layer.routing_input


def _read(layer: RbMLayer, columns: Tensor) -> Tensor:
    """Rows (·, D) with zeros where the router does not read the layer's input."""
    read = columns.clone()
    if layer.routing_input == "features":
        read[:, layer.num_features :] = 0
    elif layer.routing_input == "positions":
        read[:, : layer.num_features] = 0
    return read
