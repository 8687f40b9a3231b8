"""RbM, Routing-by-Memory: experts chosen by the likeness of a row to memory vectors.

Rumiantsev & Coates, "Graph Knowledge Distillation to Mixture of Experts", TMLR 2024, arXiv 2406.11919.
Every linear layer of an MLP becomes a bank of linear experts; which of them see a row is decided by the
cosine between the layer's input and memory vectors that live in the same space.

Dimension letters: B batch, D layer input, R projection width, E experts, K experts per row.
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rbm_training.data.sparse_rows import (
    Rows,
    norm_divisors,
    only_features,
    only_positions,
    row_norms,
    square_roots,
    squared_norms,
    unit_rows,
)
from rbm_training.students.expert_layer import ExpertLayer, top_k_experts
from rbm_training.students.routing import LayerRouting

Metric = Literal["cosine", "euclidean"]
RoutingInput = Literal["all", "features", "positions", "projection"]


class FollowingLayer(ExpertLayer):
    """Experts of rows that the first layer has routed: each row stays with the experts of the same numbers,
    and with their weights, so that the student is a mixture of E small networks behind one router."""

    follows: ClassVar[bool] = True


class RbMLayer(ExpertLayer):
    """Experts routed by a memory.

    For a row x with unit vector x̂, unit memories m̂_e and the K experts of largest similarity
    c_e = <x̂, m̂_e>, the mixing weights are softmax(c / τ) over those K, τ the routing temperature (1 in the
    paper). With the Euclidean metric memories are points and c_e = −‖x − m_e‖² / 2s², where s² is the mean
    squared distance of rows to their nearest memory at the start.

    With `center_queries` the cosine is that of x − c, c the mean row of the layer, which starts and moves as
    the memories do: rows that went through ReLU are in one orthant, and all their cosines near each other.

    The mixing weights and the memory take no gradient from the task: routing learns from the auxiliary
    losses (which push on x) and from the moving average in `memory_ema.py`.

    Args:
        num_features: F, the columns of the input that are features; the rest are positions.
        routing_input: which of them decide; the others neither count nor are remembered. By `projection`
            decides x G, G (D, R) Gaussian and fixed, and stands for x in all of the above.
        projection_width: R.

    Shapes: memory (E, D), or (E, R) by a projection, unit rows for the cosine.
    """

    has_memory: ClassVar[bool] = True
    spread: Tensor
    center: Tensor | None
    projection: Tensor | None

    def __init__(
        self,
        in_width: int,
        out_width: int,
        num_experts: int,
        top_k: int,
        dropout: float = 0.0,
        gains: bool = False,
        *,
        metric: Metric = "cosine",
        routing_temperature: float = 1.0,
        routing_input: RoutingInput = "all",
        num_features: int | None = None,
        projection_width: int = 16,
        center_queries: bool = False,
        expert_dropout: bool = False,
    ) -> None:
        super().__init__(
            in_width, out_width, num_experts, top_k, dropout, gains, expert_dropout=expert_dropout
        )
        self.metric = metric
        self.routing_temperature = routing_temperature
        self.routing_input = routing_input
        self.num_features = in_width if num_features is None else num_features
        is_projected = routing_input == "projection"
        width = projection_width if is_projected else in_width
        directions = torch.randn(in_width, width) / math.sqrt(width) if is_projected else None
        self.register_buffer("projection", directions)
        self.register_buffer("memory", torch.zeros(num_experts, width))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("center", torch.zeros(width) if center_queries else None)

    @property
    def num_router_entries(self) -> int:
        """The memories and what is taken off a row, in the columns that decide, and the projection."""
        F, D = self.num_features, self.memory.shape[1]
        num_read = {"features": F, "positions": D - F}.get(self.routing_input, D)
        projected = 0 if self.projection is None else self.projection.numel()
        return (self.num_experts + (self.center is not None)) * num_read + projected

    def read(self, x: Rows) -> Rows:
        """What of the row decides, (B, D), or (B, R) by a projection."""
        if self.projection is not None:
            return x @ self.projection
        if self.routing_input == "features":
            return only_features(x, self.num_features)
        if self.routing_input == "positions":
            return only_positions(x, self.num_features)
        return x

    @torch.no_grad()
    def start_routing(self, memory: Tensor, spread: float = 1.0, clone_noise: float = 0.0) -> None:
        """Clone the first expert into all and route by `memory` (E, D) from now on.

        Args:
            spread: s² of the Euclidean metric.
            clone_noise: see `upcycle`.
        """
        self.upcycle(clone_noise)
        self.memory.copy_(unit_rows(memory) if self.metric == "cosine" else memory)
        self.spread.fill_(spread)

    def _products(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """<x − c, m̂_e> of every expert, (B, E), and ‖x − c‖, (B,); c = 0 unless queries are centred.

        Sparse rows stay sparse.
        """
        if self.center is None:
            return rows @ self.memory.T, row_norms(rows)
        if isinstance(rows, Tensor):
            centered = rows - self.center
            return centered @ self.memory.T, row_norms(centered)
        along = rows @ self.center.unsqueeze(1)  # (B, 1)
        squares = squared_norms(rows) - 2 * along.squeeze(1) + self.center.square().sum()
        return rows @ self.memory.T - self.memory @ self.center, square_roots(squares.clamp_min(0))

    def _distances(self, rows: Rows) -> Tensor:
        """c of every expert by the Euclidean metric, (B, E).

        Distances are taken from the mean of the memories: the norms of rows and memories, from which float32
        would lose the small differences that choose experts, then cancel before they are rounded.
        """
        center = self.memory.mean(dim=0, keepdim=True)  # (1, D)
        apart = self.memory - center
        own = squared_norms(rows).unsqueeze(1) - 2 * (rows @ center.T) + center.pow(2).sum()  # ‖x − m̄‖²
        products = rows @ apart.T - center @ apart.T
        return (products - (own + apart.pow(2).sum(dim=1)) / 2) / self.spread

    def route(self, x: Rows) -> LayerRouting:
        """Choose experts for x (B, D); by the cosine an all-zero row has similarity 0 and goes to experts
        0..K-1."""
        rows, norms = self.read(x), None
        if self.metric == "cosine":
            # Divided are the products: unit rows beside the rows would cost more than all the rest of this.
            products, norms = self._products(rows)
            every_similarity = products / norm_divisors(norms).unsqueeze(1)
        else:
            every_similarity = self._distances(rows)
        experts, similarity, routing_margin = top_k_experts(every_similarity, self.top_k)
        if norms is not None:
            routing_margin = routing_margin.masked_fill(norms == 0, torch.inf)
        return LayerRouting(
            rows=rows,
            experts=experts,
            weights=(similarity / self.routing_temperature).softmax(dim=1),
            similarity=similarity,
            routing_margin=routing_margin,
            num_experts=self.num_experts,
            norms=norms,
            center=self.center,
        )
