"""Records of routing decisions, and what they say about a mixture.

Dimension letters: B batch, D layer input, E experts, K experts per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rbm_training.rows import Rows


@dataclass(frozen=True, slots=True)
class LayerRouting:
    """How one layer routed a batch.

    Shapes: unit_input (B, D), dense or sparse; experts (B, K) int64; weights and similarity (B, K), of the
    chosen experts; gap (B,), similarity of the K-th minus that of the (K+1)-th expert, infinite where nothing
    is left to rounding: when K = E, and for an all-zero input.
    """

    unit_input: Rows
    experts: Tensor
    weights: Tensor
    similarity: Tensor
    gap: Tensor
    num_experts: int

    def gates(self) -> Tensor:
        """The mixing weight of every expert, zero for those not chosen, (B, E)."""
        nothing = self.weights.new_zeros(len(self.weights), self.num_experts)
        return nothing.scatter(1, self.experts, self.weights)


def expert_usage(layers: Sequence[LayerRouting]) -> list[list[float]]:
    """Share of the (row, choice) pairs that each expert of each layer got; rows sum to 1."""
    usage = []
    for layer in layers:
        counts = torch.bincount(layer.experts.flatten(), minlength=layer.num_experts)
        usage.append((counts / counts.sum()).tolist())
    return usage
