"""The vanilla mixture of experts: a learnt router with noise, by cosine (Li et al. 2023, "GMoE").

What the RbM paper compares itself with. Dimension letters: B batch, D layer input, R router width, E experts,
K experts per row.
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rbm_training.data.sparse_rows import Rows, squared_norms, unit_rows
from rbm_training.students.expert_layer import MAX_LOG_SCALE, ExpertLayer, top_k_experts
from rbm_training.students.routing import LayerRouting

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
    ) -> None:
        used = min(top_k + (router_top_k == "k_plus_1"), num_experts)
        super().__init__(in_width, out_width, num_experts, used, dropout)
        self.router_top_k = router_top_k
        self.projection = nn.Parameter(torch.empty(in_width, router_width))
        self.projection_bias = nn.Parameter(torch.zeros(router_width))
        self.prototypes = nn.Parameter(torch.randn(num_experts, router_width) * PROTOTYPE_DEVIATION)
        self.log_inverse_temperature = nn.Parameter(torch.tensor(math.log(2.0)))
        nn.init.xavier_uniform_(self.projection)

    def start_routing(self) -> None:
        """Clone the first expert into all and ask the router from now on."""
        self.upcycle()

    def inverse_temperature(self) -> Tensor:
        """exp(θ), which the cosines are multiplied by."""
        return self.log_inverse_temperature.clamp_max(MAX_LOG_SCALE).exp()

    def route(self, x: Rows) -> LayerRouting:
        """Choose experts for x (B, D); an all-zero projection has similarity 0 and goes to experts 0..K-1."""
        query = unit_rows(x @ self.projection + self.projection_bias)
        cosines = query @ unit_rows(self.prototypes).T  # (B, E)
        if self.training:
            cosines = cosines + torch.randn_like(cosines) / (self.num_experts * self.inverse_temperature())
        experts, similarity, routing_margin = top_k_experts(cosines, self.top_k)
        logits = self.inverse_temperature() * (cosines if self.router_top_k == "k_plus_1" else similarity)
        weights = logits.softmax(dim=1)
        return LayerRouting(
            query=query,
            experts=experts,
            weights=weights.gather(1, experts) if self.router_top_k == "k_plus_1" else weights,
            similarity=similarity,
            routing_margin=routing_margin.masked_fill(squared_norms(query) == 0, torch.inf),
            num_experts=self.num_experts,
        )
