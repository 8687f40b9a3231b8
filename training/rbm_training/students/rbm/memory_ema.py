"""How routing memories move: one moving average an optimiser step.

Memories are buffers, never parameters: the optimiser does not see them (docs/method.md, "Student").
Dimension letters: D layer input, E experts.
"""

import torch
from torch import Tensor

from rbm_training.config import RoutingConfig
from rbm_training.data.sparse_rows import column_means, unit_rows
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.memory import Memory
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.routing import LayerRouting
from rbm_training.students.student import Student, StudentOutput


class MemoryAverager(Memory):
    """Moves the memories of a student once an optimiser step, from what the step's batches put in.

    For an expert with assigned mass,  M_e ← normalise(γ m̂_e + (1−γ) μ_e),  μ_e = Σ w x̂ / Σ w  over the
    rows of all batches of the step; without mass it keeps its direction. Then every memory is pushed away
    from the mean of the others (the self-similarity term as an explicit step), and an expert that got no
    row for `reinit_dead_after` steps takes over the worst-served input. Memories of the Euclidean metric are
    points: they are neither normalised nor pushed. Where queries are centred, their centre moves too, to the
    mean of all rows. Layers without a memory are passed over; an expert of those that follow is part of the
    expert of the first layer, and is revived with it.
    """

    def __init__(self, student: Student, config: RoutingConfig) -> None:
        self.config = config
        following = student.following_layers()
        self.layers = [
            _LayerAverage(layer, following) if isinstance(layer, RbMLayer) else None
            for layer in student.routing_layers()
        ]

    @torch.no_grad()
    def accumulate(self, output: StudentOutput) -> None:
        """Take a batch's routing in."""
        for average, routing in zip(self.layers, output.layers, strict=True):
            if average is not None:
                average.accumulate(routing)

    @torch.no_grad()
    def step(self) -> None:
        """Move every memory and start afresh."""
        for average in self.layers:
            if average is not None:
                average.step(self.config)


class _LayerAverage:
    def __init__(self, layer: RbMLayer, following: list[ExpertLayer]) -> None:
        self.layer = layer
        self.following = following
        self.idle_steps = torch.zeros(layer.num_experts, dtype=torch.long)
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros_like(self.layer.memory)  # (E, D)
        self.mass = torch.zeros_like(self.layer.memory[:, 0])  # (E,)
        self.mean = torch.zeros_like(self.layer.memory[0])  # (D,), of all rows
        self.num_rows = 0
        self.worst_similarity = float("inf")
        self.worst_input: Tensor | None = None
        self.worst_expert = 0

    def accumulate(self, routing: LayerRouting) -> None:
        gates = routing.gates()  # (B, E)
        self.sums += routing.query_sums(gates)
        self.mass += gates.sum(dim=0)
        if self.layer.center is not None:
            self.num_rows += len(gates)
            self.mean += (column_means(routing.rows) - self.mean) * (len(gates) / self.num_rows)
        self._remember_worst(routing)

    def _remember_worst(self, routing: LayerRouting) -> None:
        best = routing.similarity[:, 0].detach()
        if routing.norms is not None:  # a zero is no direction, and no memory
            best = best.masked_fill(routing.norms == 0, float("inf"))
        row = int(best.argmin())
        if float(best[row]) < self.worst_similarity:
            self.worst_similarity = float(best[row])
            self.worst_input = routing.query_of(row).detach().clone()
            self.worst_expert = int(routing.experts[row, 0])

    def step(self, config: RoutingConfig) -> None:
        if config.ema_decay < 1:
            self._move(config)
        self._reset()

    def _move(self, config: RoutingConfig) -> None:
        served = self.mass > 0
        means = self.sums / self.mass.clamp_min(1e-12).unsqueeze(1)
        moved = config.ema_decay * self.layer.memory + (1 - config.ema_decay) * means
        is_cosine = self.layer.metric == "cosine"
        memory = torch.where(served.unsqueeze(1), unit_rows(moved) if is_cosine else moved, self.layer.memory)
        self.layer.memory.copy_(repel(memory, config.self_similarity) if is_cosine else memory)
        if self.layer.center is not None:
            self.layer.center.lerp_(self.mean, 1 - config.ema_decay)
        self.idle_steps = torch.where(served.cpu(), 0, self.idle_steps + 1)
        if int(self.idle_steps.max()) >= config.reinit_dead_after:
            self._revive(int(self.idle_steps.argmax()))

    def _revive(self, expert: int) -> None:
        """Give an idle expert the worst-served input, and a copy of the weights that served it."""
        if self.worst_input is None:
            return
        self.layer.memory[expert] = self.worst_input
        for layer in (self.layer, *self.following):
            for parameter in (layer.weight, layer.bias, layer.log_gain):
                if parameter is not None:
                    parameter[expert] = parameter[self.worst_expert]
        self.idle_steps[expert] = 0


def repel(memory: Tensor, strength: float) -> Tensor:
    """Push unit memories (E, D) away from the mean of the others, along the sphere.

    One descent step of size `strength` on the self-similarity Σ_i <m̂_i, sg(mean_{j≠i} m̂_j)>.
    """
    E = memory.shape[0]
    if E < 2 or strength == 0:
        return memory
    others = (memory.sum(dim=0) - memory) / (E - 1)
    tangent = others - (others * memory).sum(dim=1, keepdim=True) * memory
    return unit_rows(memory - strength * tangent)
