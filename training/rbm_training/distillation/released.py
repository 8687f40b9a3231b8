"""Training as the paper's released code does it, where that changes results (`compat = "released"`).

To compare with, not to use. docs/method.md, "What the released code does otherwise", explains each point.
Dimension letters: B batch, D layer input, E experts.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from rbm_training.config import RoutingConfig
from rbm_training.data.sparse_rows import unit_rows
from rbm_training.distillation.loss_term import LossBatch
from rbm_training.distillation.losses import (
    SoftTargets,
    Tempering,
    distillation_sum,
    hard_label_sum,
    soft_targets,
)
from rbm_training.distillation.trainer import StudentTrainer, Terms
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.memory import Memory
from rbm_training.students.routing import LayerRouting
from rbm_training.students.student import Student, StudentOutput

INITIAL_SCALE, INITIAL_GAIN = 2.0, 1.1


class ReleasedTrainer(StudentTrainer):
    """Label batches, then pair batches; memories move in every forward pass and by the optimiser.

    * Log-probabilities are divided by τ and not normalised again.
    * The gradient is a sum of batch means: first of batches of training nodes, then of batches of pairs,
      none of them shuffled. The auxiliary losses count once a batch of either kind.
    * Layers start with scale 2 and gain 1.1, so that the output jumps when routing starts; epochs of the
      warm-up stay in the running, and the optimiser keeps its moments: those of the one expert that learnt.
      (The clones start without moments, but not from Adam's first step, which one parameter has but once.)
    """

    tempering: ClassVar[Tempering] = "raw_logprob"
    resets_after_warm_up: ClassVar[bool] = False
    memory: "ReleasedMemory"

    def _new_memory(self) -> Memory:
        for layer in self.student.memory_layers():
            _set_scales(layer, INITIAL_SCALE, INITIAL_GAIN)
        return ReleasedMemory(self.student, self.routing)

    def _new_optimizer(self) -> torch.optim.Adam:
        parameters = [*self.student.parameters(), *self.memory.vectors]
        return torch.optim.Adam(parameters, self.config.learning_rate, weight_decay=self.config.weight_decay)

    def start_routing(self, seed: int) -> None:
        """Lay out memories and clone the experts; the optimiser carries on."""
        self._lay_out_routing(seed)
        self._forget_moments_of_clones()
        self.memory.take_over()
        self.routing_started = True

    def _forget_moments_of_clones(self) -> None:
        """Until now the clones were other weights, which nothing but decay has moved."""
        for layer in self.student.memory_layers():
            for parameter in (layer.weight, layer.bias):
                state = self._optimizer.state[parameter]
                for name in state.keys() & {"exp_avg", "exp_avg_sq"}:
                    state[name][1:] = 0

    def accumulate_gradients(self) -> None:
        """Add up the means of all batches of labels, then of all batches of pairs."""
        self.student.train()
        self._sum_up(self._batch_means())

    def restore(self, early_stopping: EarlyStopping, seed: int) -> EpochMetrics:
        """Bring the student back to its best epoch.

        An epoch of the warm-up is one expert alone; as a mixture of its clones, of scale and gain 1, it says
        the same and can be exported.
        """
        selected = super().restore(early_stopping, seed)
        if selected.epoch < self.config.warmup_epochs:
            for layer in self.student.memory_layers():
                _set_scales(layer, 1.0, 1.0)
            self._lay_out_routing(seed)
        return selected

    def _batch_means(self) -> Iterator[Terms]:
        targets = soft_targets(self.teacher_logits, self.config.temperature, self.tempering)
        for rows in self.inputs.train.split(self.batch_rows):
            yield self._learn_mean(rows, "hard_label", partial(self._label_mean, rows))
        for student, teacher in zip(*(side.split(self.batch_rows) for side in self._pairs()), strict=True):
            own = targets.rows(teacher)
            yield self._learn_mean(student, "distillation", partial(self._distillation_mean, own))

    def _learn_mean(self, rows: Tensor, name: str, mean: Callable[[Tensor], Tensor]) -> Terms:
        """Learn one of the two losses from a batch, the mean that its logits have; the other is zero."""
        scaled = self.inputs.scaled[rows]
        output = self.student.classify(scaled)
        batch = LossBatch(rows, scaled, output, self._routed(output), share=1.0, supervised=mean)
        nothing = torch.zeros((), device=rows.device)
        terms = {"hard_label": nothing, "distillation": nothing, **self._beside(batch)}
        return self._learn_from(output, terms | {name: mean(output.logits)})

    def _label_mean(self, rows: Tensor, logits: Tensor) -> Tensor:
        mean = hard_label_sum(logits, self.inputs.labels[rows]) / len(rows)
        return self.label_weight * mean

    def _distillation_mean(self, targets: SoftTargets, logits: Tensor) -> Tensor:
        mean = distillation_sum(logits, targets, self.config.temperature, self.tempering) / len(logits)
        return (1 - self.label_weight) * mean

    def _pairs(self) -> Tensor:
        """Drawn edges, then each node with itself, (2, M)."""
        own = torch.arange(len(self.inputs.labels), device=self.inputs.labels.device).expand(2, -1)
        return own if self.sampler is None else torch.cat([self.sampler.draw(), own], dim=1)


class ReleasedMemory(Memory):
    """Memories as parameters of the optimiser that a moving average overwrites in every forward pass.

    For an expert with assigned rows S_e,  M_e ← γ m̂_e + (1−γ) Σ_b β_b x̂_b  with β a softmax over S_e of the
    mixing weights: no normalisation, no re-initialised expert; without rows M_e only shrinks. The spread loss
    κ_s/E² Σ_ij <m̂_i, sg(m̂_j)> is the one term that gives M a gradient, and with it Adam's steps and decay.

    Attributes:
        vectors: one (E, D) parameter a layer; the layers themselves see them at unit length.
    """

    def __init__(self, student: Student, config: RoutingConfig) -> None:
        self.config = config
        self.layers = student.memory_layers()
        self.vectors = [nn.Parameter(torch.zeros_like(layer.memory)) for layer in self.layers]

    @torch.no_grad()
    def take_over(self) -> None:
        """Start from the memories that K-means laid out."""
        for layer, vectors in zip(self.layers, self.vectors, strict=True):
            vectors.copy_(layer.memory)

    def accumulate(self, output: StudentOutput) -> None:
        """Move every memory to what this batch put in, and add the gradient of the spread loss."""
        for vectors, routing in zip(self.vectors, output.layers, strict=True):
            self._average(vectors, routing)
            if self.config.self_similarity > 0:
                unit = unit_rows(vectors)
                (self.config.self_similarity * (unit @ unit.detach().T).mean()).backward()
        self.step()

    @torch.no_grad()
    def step(self) -> None:
        """Show the layers where the memories now are."""
        for layer, vectors in zip(self.layers, self.vectors, strict=True):
            layer.memory.copy_(unit_rows(vectors))

    @torch.no_grad()
    def _average(self, vectors: nn.Parameter, routing: LayerRouting) -> None:
        shares = batch_softmax(routing)  # (B, E)
        means = routing.query_sums(shares)  # (E, D)
        vectors.copy_(self.config.ema_decay * unit_rows(vectors) + (1 - self.config.ema_decay) * means)


def batch_softmax(routing: LayerRouting) -> Tensor:
    """For each expert a softmax, over the rows it was given, of their mixing weights; (B, E)."""
    chosen = torch.zeros_like(routing.gates(), dtype=torch.bool).scatter(1, routing.experts, True)
    exponentials = routing.gates().exp().where(chosen, 0.0)
    return exponentials / exponentials.sum(dim=0).clamp_min(1e-12)


@torch.no_grad()
def _set_scales(layer: ExpertLayer, scale: float, gain: float) -> None:
    assert layer.log_scale is not None, "a layer with a memory has several experts"
    layer.log_scale.fill_(math.log(scale))
    if layer.log_gain is not None:
        layer.log_gain.fill_(math.log(gain))
