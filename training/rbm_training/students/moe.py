"""The vanilla mixture of experts: a learnt router with noise, by cosine (Li et al. 2023, "GMoE").

What the RbM paper compares itself with. Dimension letters: B batch, D layer input, R router width, E experts,
K experts per row.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from rbm_training.config import StudentConfig
from rbm_training.data.sparse_rows import Rows, norm_divisors, row_norms, unit_rows
from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import Floats, LayerInput, norms, square_sums
from rbm_training.onnx.router import Router, Scores
from rbm_training.students.complexity import Costs, mixture_costs
from rbm_training.students.expert_layer import MAX_LOG_SCALE, ExpertLayer, top_k_experts
from rbm_training.students.folding import float32_array
from rbm_training.students.kind import LayerPlace, StudentKind
from rbm_training.students.routing import LayerRouting
from rbm_training.students.student import Student

TopK = Literal["k", "k_plus_1"]
PROTOTYPE_DEVIATION = 0.01


class MoELayer(ExpertLayer):
    """Experts routed by a learnt projection.

    For u = x P + p of unit vector û and unit prototypes q̂_e, c_e = exp(θ) <û, q̂_e>, in training plus
    N(0, 1)/E; the mixing weights are the softmax over the K largest, and the task's gradient reaches all of
    them. With `k_plus_1`, as in the paper's released code, K + 1 experts are used and the softmax is over all
    E: the weights then sum to less than 1, and the output shrinks when routing starts.

    Shapes: projection (D, R), projection_bias (R,), prototypes (E, R).
    """

    weights_learn: ClassVar[bool] = True

    def __init__(
        self,
        in_width: int,
        out_width: int,
        num_experts: int,
        top_k: int,
        dropout: float = 0.0,
        *,
        router_width: int,
        router_top_k: TopK = "k",
        expert_dropout: bool = False,
    ) -> None:
        num_used = _num_used(top_k, num_experts, router_top_k)
        super().__init__(in_width, out_width, num_experts, num_used, dropout, expert_dropout=expert_dropout)
        self.router_top_k = router_top_k
        self.projection = nn.Parameter(torch.empty(in_width, router_width))
        self.projection_bias = nn.Parameter(torch.zeros(router_width))
        self.prototypes = nn.Parameter(torch.randn(num_experts, router_width) * PROTOTYPE_DEVIATION)
        self.log_inverse_temperature = nn.Parameter(torch.tensor(math.log(2.0)))
        nn.init.xavier_uniform_(self.projection)

    def inverse_temperature(self) -> Tensor:
        """exp(θ), which the cosines are multiplied by."""
        return self.log_inverse_temperature.clamp_max(MAX_LOG_SCALE).exp()

    def anchors(self) -> Tensor | None:
        """The prototypes, of norm 1 as they are compared."""
        lengths: Tensor = self.prototypes.norm(dim=1, keepdim=True)
        return self.prototypes / lengths

    def route(self, x: Rows) -> LayerRouting:
        """Choose experts for x (B, D); an all-zero projection has similarity 0 and goes to experts 0..K-1."""
        projected = x @ self.projection + self.projection_bias
        norms = row_norms(projected)
        cosines = projected @ unit_rows(self.prototypes).T / norm_divisors(norms).unsqueeze(1)  # (B, E)
        if self.training:
            cosines = cosines + torch.randn_like(cosines) / (self.num_experts * self.inverse_temperature())
        experts, similarity, routing_margin = top_k_experts(cosines, self.top_k)
        logits = self.inverse_temperature() * (cosines if self.router_top_k == "k_plus_1" else similarity)
        weights = logits.softmax(dim=1)
        return LayerRouting(
            rows=projected,
            norms=norms,
            experts=experts,
            weights=weights.gather(1, experts) if self.router_top_k == "k_plus_1" else weights,
            similarity=similarity,
            routing_margin=routing_margin.masked_fill(norms == 0, torch.inf),
            num_experts=self.num_experts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntRouter(Router):
    """Cosines of a projection u = x P + p, (B, R), with unit prototypes (R, E).

    With `over_all` the softmax is over all experts, of which the chosen keep their shares.
    """

    prototypes: Floats
    over_all: bool

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """Products of the projection with the prototypes, over its norms."""
        products = graph.add("MatMul", product, graph.constant(self.prototypes))
        squares = square_sums(graph, product, len(self.prototypes))
        return Scores(graph.add("Div", products, norms(graph, squares)))

    def _weigh(self, graph: GraphBuilder, scores: str, experts: str, chosen: str) -> str:
        if not self.over_all:
            return self._softmax(graph, chosen)
        return graph.add("GatherElements", self._softmax(graph, scores), experts, axis=1)


class MoEKind(StudentKind):
    """Experts routed by a learnt router."""

    def summary(self, student: Mapping[str, Any]) -> str:
        """For the model card."""
        return "a mixture of experts with a learnt router"

    def mixture(self, place: LayerPlace, shape: StudentConfig) -> ExpertLayer:
        """A layer whose router is as wide as the hidden layers."""
        return MoELayer(
            place.in_width,
            place.out_width,
            place.num_experts,
            place.top_k,
            place.dropout,
            router_width=shape.hidden,
            router_top_k=shape.router_top_k,
            expert_dropout=shape.expert_dropout,
        )

    def mixture_costs(self, place: LayerPlace, shape: StudentConfig) -> Costs:
        """The experts in use, the projection, and a comparison with every prototype."""
        D, H, E, R = place.in_width, place.out_width, place.num_experts, shape.hidden
        num_used = _num_used(shape.top_k, E, shape.router_top_k)
        return mixture_costs(D, H, E, num_used, Costs(D * R + R + R * E + 1, 2 * D * R + 2 * R * E))

    @torch.no_grad()
    def router(self, layer: ExpertLayer) -> Router:
        """Cosines of the projection with the prototypes."""
        assert isinstance(layer, MoELayer), "a layer of several experts has a router"
        return LearntRouter(
            matrix=float32_array(layer.projection),
            bias=float32_array(layer.projection_bias),
            top_k=layer.top_k,
            inverse_temperature=float(layer.inverse_temperature()),
            prototypes=float32_array(unit_rows(layer.prototypes.double()).T),
            over_all=layer.router_top_k == "k_plus_1",
        )

    def router_width(self, student: Student) -> int | None:
        """R of the first layer that routes."""
        widths = [layer.prototypes.shape[1] for layer in student.layers if isinstance(layer, MoELayer)]
        return widths[0] if widths else None


MOE: Final = MoEKind()


def _num_used(top_k: int, num_experts: int, router_top_k: TopK) -> int:
    return min(top_k + (router_top_k == "k_plus_1"), num_experts)
