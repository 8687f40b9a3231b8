"""RbM, Routing-by-Memory: the whole model in one file.

Rumiantsev & Coates, "Graph Knowledge Distillation to Mixture of Experts", TMLR 2024, arXiv 2406.11919.
Every linear layer of an MLP becomes a bank of linear experts; which of them see a row is decided by the
cosine between the layer's input and memory vectors that live in the same space.

Dimension letters: B batch, D layer input, H layer output, E experts, K experts per row, C classes, L layers.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rbm_training.routing import LayerRouting
from rbm_training.rows import Rows, dropout, squared_norms, unit_rows
from rbm_training.scaling import InputScaling

MAX_LOG_SCALE = math.log(100.0)


class RbMLayer(nn.Module):
    """A bank of linear experts, routed by cosine similarity to a memory.

    For a row x with unit vector x̂, memories m̂_e and the K experts of highest cosine c_e = <x̂, m̂_e>,

        out = exp(ϑ) · Σ_e softmax(c)_e · ((exp(A_e) ⊙ x) W_e + b_e).

    The mixing weights and the memory take no gradient from the task: routing learns from the auxiliary
    losses (which push on x) and from the moving average in `memory.py`. Ties go to the lowest index.
    Until `start_routing` the layer is its first expert alone; since ϑ = 0, A = 0 and the weights sum to 1,
    cloning that expert changes no output.

    Shapes: (B, D), in the first layer dense or sparse, → (B, H); weight (E, D, H), bias (E, H), memory (E, D)
    unit rows.
    """

    memory: Tensor

    def __init__(
        self,
        in_width: int,
        out_width: int,
        num_experts: int,
        experts_per_row: int,
        dropout: float,
        gains: bool,
    ) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.experts_per_row = experts_per_row
        self.dropout = dropout
        self.routed = False
        self.weight = nn.Parameter(torch.empty(num_experts, in_width, out_width))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_width))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.log_gain = nn.Parameter(torch.zeros(num_experts, in_width)) if gains else None
        self.register_buffer("memory", torch.zeros(num_experts, in_width))
        for expert in self.weight.data:
            nn.init.xavier_uniform_(expert, gain=nn.init.calculate_gain("relu"))

    @torch.no_grad()
    def start_routing(self, memory: Tensor) -> None:
        """Clone the first expert into all and route by `memory` (E, D) from now on."""
        self.weight.copy_(self.weight[:1].expand_as(self.weight))
        self.bias.copy_(self.bias[:1].expand_as(self.bias))
        self.memory.copy_(unit_rows(memory))
        self.routed = True

    def route(self, x: Rows) -> LayerRouting:
        """Choose experts for x (B, D); an all-zero row has similarity 0 and goes to experts 0..K-1."""
        unit_input = unit_rows(x)
        similarity = unit_input @ self.memory.T  # (B, E)
        ranked = similarity.sort(dim=1, descending=True, stable=True)
        K = self.experts_per_row
        chosen = ranked.values[:, :K]  # (B, K)
        gap = torch.full_like(chosen[:, 0], math.inf)
        if self.num_experts > K:
            is_zero = squared_norms(unit_input) == 0
            gap = gap.where(is_zero, chosen[:, -1] - ranked.values[:, K]).detach()
        return LayerRouting(
            unit_input=unit_input,
            experts=ranked.indices[:, :K],
            weights=chosen.softmax(dim=1),
            similarity=chosen,
            gap=gap,
            num_experts=self.num_experts,
        )

    def effective_weight(self) -> Tensor:
        """Expert matrices with input gains folded in, (E, D, H)."""
        if self.log_gain is None:
            return self.weight
        return self.log_gain.clamp_max(MAX_LOG_SCALE).exp().unsqueeze(-1) * self.weight

    def scale(self) -> Tensor:
        """exp(ϑ), the learnt scale of the layer's output."""
        return self.log_scale.clamp_max(MAX_LOG_SCALE).exp()

    def forward(self, x: Rows) -> tuple[Tensor, LayerRouting | None]:
        """Output (B, H), and how the rows were routed (None before `start_routing`)."""
        dropped = dropout(x, self.dropout, self.training)
        if not self.routed:
            return dropped @ self.weight[0] + self.bias[0], None
        routing = self.route(x)
        E, D, H = self.weight.shape
        flat_weight = self.effective_weight().permute(1, 0, 2).reshape(D, E * H)
        every_expert = (dropped @ flat_weight).view(-1, E, H) + self.bias  # (B, E, H)
        mixed = torch.bmm(routing.gates().detach().unsqueeze(1), every_expert).squeeze(1)  # (B, H)
        return self.scale() * mixed, routing


@dataclass(frozen=True, slots=True)
class StudentOutput:
    """Logits (B, C) and the routing of each layer, empty before routing starts."""

    logits: Tensor
    layers: tuple[LayerRouting, ...]


class RbMStudent(nn.Module):
    """L routed layers with ReLU between them, on scaled features and positions.

    `temperature` calibrates the probabilities, softmax(logits / temperature); it is fitted on validation.

    Shapes: features (B, F), dense or sparse, positions (B, P) → logits (B, C).
    """

    temperature: Tensor

    def __init__(self, scaling: InputScaling, layers: list[RbMLayer]) -> None:
        super().__init__()
        self.scaling = scaling
        self.layers = nn.ModuleList(layers)
        self.register_buffer("temperature", torch.ones(()))

    def routed_layers(self) -> list[RbMLayer]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, RbMLayer)]

    @property
    def num_features(self) -> int:
        """F."""
        return self.scaling.mean.numel()

    @property
    def position_width(self) -> int:
        """P."""
        return self.routed_layers()[0].weight.shape[1] - self.num_features

    def forward(self, features: Rows, positions: Tensor) -> StudentOutput:
        """Classify a batch from features and positions alone."""
        inputs = self.scaling(features, positions)
        records = []
        for layer in self.routed_layers():
            output, routing = layer(inputs)
            inputs = output.relu()
            if routing is not None:
                records.append(routing)
        return StudentOutput(output, tuple(records))

    def num_parameters(self) -> int:
        """Parameters and memory entries that inference uses."""
        memories = sum(layer.memory.numel() for layer in self.routed_layers())
        return sum(parameter.numel() for parameter in self.parameters()) + memories


def build_student(
    scaling: InputScaling,
    widths: list[int],
    num_experts: int,
    experts_per_row: int,
    dropout: float,
    input_gains: bool,
) -> RbMStudent:
    """A student with layers of the given widths [D, H, …, C]."""
    layers = [
        RbMLayer(a, b, num_experts, experts_per_row, dropout, input_gains)
        for a, b in itertools.pairwise(widths)
    ]
    return RbMStudent(scaling, layers)
