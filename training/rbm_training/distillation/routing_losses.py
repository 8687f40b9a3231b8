"""What routing is trained with: inputs near their memories, and work for every expert.

Both are zero until routing has started. Dimension letters: B batch, E experts, K experts per row.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rbm_training.distillation.loss_term import LossBatch, LossContext, LossTerm
from rbm_training.students.routing import LayerRouting


class Commitment(LossTerm):
    """The commitment loss of students that have a memory."""

    @classmethod
    def weight_of(cls, name: str, context: LossContext) -> float:
        """Return `routing.commitment`."""
        return context.routing.commitment

    def loss(self, batch: LossBatch) -> Tensor:
        """See `commitment`."""
        remembers = batch.layers and self.student.memory_layers()
        return commitment(batch.layers) if remembers else batch.output.logits.sum() * 0


class LoadBalance(LossTerm):
    """The importance loss of students of several experts."""

    @classmethod
    def weight_of(cls, name: str, context: LossContext) -> float:
        """Return `routing.load_balance`."""
        return context.routing.load_balance

    def loss(self, batch: LossBatch) -> Tensor:
        """See `load_balance`."""
        return load_balance(batch.layers) if batch.layers else batch.output.logits.sum() * 0


def commitment(layers: Sequence[LayerRouting]) -> Tensor:
    """−mean_b Σ_{j∈K_b} w_bj <x̂_b, m̂_j>, summed over layers; pulls inputs to their memories."""
    parts = [(layer.weights * layer.similarity).sum(dim=1).mean() for layer in layers]
    return -torch.stack(parts).sum()


def load_balance(layers: Sequence[LayerRouting]) -> Tensor:
    """cv²(Σ_b w_be) over the experts, summed over layers (Shazeer et al. 2017, importance loss)."""
    return torch.stack([_squared_variation(layer) for layer in layers]).sum()


def _squared_variation(layer: LayerRouting) -> Tensor:
    loads = torch.zeros_like(layer.weights[0, :1].expand(layer.num_experts))
    loads = loads.index_add(0, layer.experts.flatten(), layer.weights.flatten())  # (E,)
    if layer.num_experts < 2:
        return loads.sum() * 0
    return loads.var(correction=1) / (loads.mean() ** 2 + 1e-10)
