"""A bank of linear experts: what every layer of every student is.

A layer of one expert is a plain linear layer, and a student of such layers an MLP. Who shares a row out among
several experts is the subclasses' matter: `rbm/` by a memory, `moe.py` by a learnt router.

Dimension letters: B batch, D layer input, H layer output, E experts, K experts per row.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from rbm_training.data.sparse_rows import Rows, dropout
from rbm_training.students.routing import LayerRouting

MAX_LOG_SCALE = math.log(100.0)


class ExpertLayer(nn.Module):
    """E linear experts, of which each row uses K.

    With mixing weights w of the chosen experts e,

        out = exp(ϑ) · Σ_e w_e · ((exp(A_e) ⊙ x) W_e + b_e).

    Until routing has started the layer is its first expert alone; since ϑ = 0, A = 0 and the weights sum
    to 1, cloning that expert changes no output. One expert has no scale of its own.

    Shapes: (B, D), in the first layer dense or sparse, → (B, H); weight (E, D, H), bias (E, H); memory, of a
    layer that has one, (E, D).
    """

    weights_learn: ClassVar[bool] = False  # whether the task's gradient reaches the mixing weights
    has_memory: ClassVar[bool] = False  # whether rows are compared with a buffer `memory`
    follows: ClassVar[bool] = False  # whether rows stay with the experts that the first layer chose
    memory: Tensor

    def __init__(
        self,
        in_width: int,
        out_width: int,
        num_experts: int = 1,
        top_k: int = 1,
        dropout: float = 0.0,
        gains: bool = False,
        *,
        expert_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.top_k = top_k
        self.dropout = dropout
        self.expert_dropout = expert_dropout
        self.routed = num_experts == 1
        self.weight = nn.Parameter(torch.empty(num_experts, in_width, out_width))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_width))
        self.log_scale = nn.Parameter(torch.zeros(())) if num_experts > 1 else None
        self.log_gain = nn.Parameter(torch.zeros(num_experts, in_width)) if gains else None
        for expert in self.weight.data:
            nn.init.xavier_uniform_(expert, gain=nn.init.calculate_gain("relu"))

    @torch.no_grad()
    def upcycle(self, noise: float = 0.0) -> None:
        """Make every expert the first one, and route from now on.

        Args:
            noise: deviation of what is added to the weights of the others, relative to the root mean square
                of the first one's.
        """
        self.weight.copy_(self.weight[:1].expand_as(self.weight))
        if noise:
            size = noise * self.weight[0].square().mean().sqrt()
            self.weight[1:] += size * torch.randn_like(self.weight[1:])
        self.bias.copy_(self.bias[:1].expand_as(self.bias))
        self.routed = True

    def route(self, x: Rows) -> LayerRouting:
        """Every row to the one expert there is."""
        rows = torch.zeros(len(x), 1, device=x.device)
        return LayerRouting(
            rows=rows,
            experts=rows.long(),
            weights=torch.ones_like(rows).to(self.weight),
            similarity=rows.to(self.weight),
            routing_margin=torch.full_like(rows[:, 0], math.inf),
            num_experts=1,
        )

    def anchors(self) -> Tensor | None:
        """What queries are compared with, (E, width of a query), for the page of a run; None where nothing
        is."""
        return self.memory if self.has_memory else None

    @property
    def num_router_entries(self) -> int:
        """Entries of buffers that choose experts, of those columns that are read."""
        return 0

    def effective_weight(self) -> Tensor:
        """Expert matrices with input gains folded in, (E, D, H)."""
        if self.log_gain is None:
            return self.weight
        return self.log_gain.clamp_max(MAX_LOG_SCALE).exp().unsqueeze(-1) * self.weight

    def scale(self) -> Tensor:
        """exp(ϑ), the learnt scale of the layer's output."""
        if self.log_scale is None:
            return torch.ones_like(self.bias[0, 0])
        return self.log_scale.clamp_max(MAX_LOG_SCALE).exp()

    def forward(self, x: Rows, followed: LayerRouting | None = None) -> tuple[Tensor, LayerRouting | None]:
        """Output (B, H), and how the rows were routed (None before routing starts).

        Args:
            followed: how the first layer routed the rows, for a layer that follows it.
        """
        if self._masks_differ:
            routing = self.route(x) if followed is None else followed
            return self.scale() * self._mix(x, routing), routing
        dropped = dropout(x, self.dropout, self.training)
        if not self.routed:
            return dropped @ self.weight[0] + self.bias[0], None
        routing = self.route(x) if followed is None else followed
        if self.num_experts == 1:
            return dropped @ self.effective_weight()[0] + self.bias[0], routing
        return self.scale() * self._mix(dropped, routing), routing

    @property
    def _masks_differ(self) -> bool:
        """Whether each expert of a row has a dropout mask of its own."""
        return self.expert_dropout and self.training and self.routed and self.num_experts > 1

    def _mix(self, x: Rows, routing: LayerRouting) -> Tensor:
        """Σ_e w_e · (x W_e + b_e), (B, H): each expert sees the rows that chose it and no others, so that
        what E experts put out never stands side by side, unless that is no more than the layer's input."""
        E, D, H = self.weight.shape
        if isinstance(x, Tensor) and E * H <= D and not self._masks_differ:
            return self._mix_side_by_side(x, routing)
        weights = routing.weights if self.weights_learn else routing.weights.detach()
        mixed = self.bias.new_zeros(len(x), self.bias.shape[1])
        for expert, (weight, bias) in enumerate(zip(self.effective_weight(), self.bias, strict=True)):
            rows, place = (routing.experts == expert).nonzero(as_tuple=True)
            chosen = dropout(x[rows], self.dropout, self._masks_differ)
            output = chosen @ weight + bias
            mixed.index_add_(0, rows, weights[rows, place].unsqueeze(1) * output)
        return mixed

    def _mix_side_by_side(self, x: Tensor, routing: LayerRouting) -> Tensor:
        """The same from one product with all experts, which costs less where they are narrow."""
        E, D, H = self.weight.shape
        flat_weight = self.effective_weight().permute(1, 0, 2).reshape(D, E * H)
        every_expert = (x @ flat_weight).view(-1, E, H) + self.bias  # (B, E, H), no more than (B, D)
        gates = routing.gates() if self.weights_learn else routing.gates().detach()
        return torch.bmm(gates.unsqueeze(1), every_expert).squeeze(1)


def top_k_experts(similarity: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The K experts of largest similarity (B, E), ties to the lowest index.

    Returns:
        experts and their similarity, (B, K), and (B,) by how much the last of them leads the next.
    """
    ranked = similarity.sort(dim=1, descending=True, stable=True)
    K = top_k
    routing_margin = torch.full_like(similarity[:, 0], math.inf)
    if similarity.shape[1] > K:
        routing_margin = (ranked.values[:, K - 1] - ranked.values[:, K]).detach()
    return ranked.indices[:, :K], ranked.values[:, :K], routing_margin
