"""Records of routing decisions, and what they say about a mixture.

Dimension letters: B batch, D layer input, E experts, K experts per row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rbm_training.data.sparse_rows import Rows, dense_row, norm_divisors, to_dense, weighted_sums


@dataclass(frozen=True, slots=True)
class LayerChoices:
    """The experts (B, K) that one layer sent each row to, without the layer's inputs that decided it."""

    experts: Tensor
    num_experts: int

    def rows(self, rows: Tensor) -> "LayerChoices":
        """The choices of some rows."""
        return LayerChoices(self.experts[rows], self.num_experts)


@dataclass(frozen=True, slots=True)
class LayerRouting:
    """How one layer routed a batch.

    Shapes: rows (B, D), what was compared, dense or sparse; experts (B, K) int64; weights and similarity
    (B, K), of the chosen experts; routing_margin (B,), similarity of the K-th minus that of the (K+1)-th
    expert, infinite where nothing is left to rounding: when K = E, and for an all-zero row; norms (B,), which
    the rows were divided by, None where they were compared as they are; center (D,), which was taken off the
    rows before, None where nothing was.
    """

    rows: Rows
    experts: Tensor
    weights: Tensor
    similarity: Tensor
    routing_margin: Tensor
    num_experts: int
    norms: Tensor | None = None
    center: Tensor | None = None

    @property
    def query(self) -> Rows:
        """The rows as they were compared, (B, D); dense where they were centred."""
        rows = self.rows if self.center is None else to_dense(self.rows) - self.center
        if self.norms is None:
            return rows
        factors = 1 / norm_divisors(self.norms)
        return rows * factors.unsqueeze(1) if isinstance(rows, Tensor) else rows.scale_rows(factors)

    def query_of(self, row: int) -> Tensor:
        """One of the rows as it was compared, (D,)."""
        vector = dense_row(self.rows, row)
        if self.center is not None:
            vector = vector - self.center
        return vector if self.norms is None else vector / norm_divisors(self.norms[row])

    def query_sums(self, weights: Tensor) -> Tensor:
        """Σ_b w_be q_b over the queries for each expert e, (E, D), without a query beside its row: weights
        (B, E)."""
        if self.norms is not None:
            weights = weights / norm_divisors(self.norms).unsqueeze(1)
        sums = weighted_sums(weights, self.rows)
        return sums if self.center is None else sums - weights.sum(dim=0).unsqueeze(1) * self.center

    def choices(self) -> LayerChoices:
        """Which experts were chosen, and nothing as wide as the layer's input."""
        return LayerChoices(self.experts, self.num_experts)

    def gates(self) -> Tensor:
        """The mixing weight of every expert, zero for those not chosen, (B, E)."""
        nothing = self.weights.new_zeros(len(self.weights), self.num_experts)
        return nothing.scatter(1, self.experts, self.weights)


@dataclass(frozen=True, slots=True)
class LayerUse:
    """How one layer of several experts was used in an epoch, by the rows that were watched.

    `usage` is the share of (row, choice) pairs of each expert, `entropy` its entropy relative to the largest
    possible (1: all alike), `switching` the share of rows whose first expert is another than the epoch
    before, None in the first.
    """

    layer: int
    usage: list[float]
    entropy: float
    switching: float | None


class RoutingMonitor:
    """Watches the routing of the same rows from epoch to epoch."""

    def __init__(self) -> None:
        self._first_choice: dict[int, Tensor] = {}

    def observe(self, layers: Sequence[LayerChoices]) -> list[LayerUse]:
        """Use of each layer that has a choice."""
        before, self._first_choice = self._first_choice, {}
        uses = []
        for index, layer in enumerate(layers):
            if layer.num_experts > 1:
                now, last = layer.experts[:, 0], before.get(index)
                self._first_choice[index] = now
                (usage,) = expert_usage([layer])
                switching = None if last is None else float((now != last).double().mean())
                uses.append(LayerUse(index, usage, _relative_entropy(usage), switching))
        return uses


def _relative_entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0) / math.log(len(shares))


def expert_usage(layers: Sequence[LayerChoices]) -> list[list[float]]:
    """Share of the (row, choice) pairs that each expert of each layer got; rows sum to 1."""
    usage = []
    for layer in layers:
        counts = torch.bincount(layer.experts.flatten(), minlength=layer.num_experts)
        usage.append((counts / counts.sum()).tolist())
    return usage
