"""What labels and teacher ask of a student; the caller sums them up. `loss_term` is what comes beside them.

Dimension letters: N nodes, B batch, E experts, C classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_training.data.sparse_product import bag_sums

Tempering = Literal["normalised", "raw_logprob"]


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The teacher's answers that each node has to match, summed over its pairs.

    Every pair (i, j) asks student i to match teacher j. The loss is linear in the teacher's distribution,
    so the pairs of a node collapse into one sum and cost nothing beyond it.

    Shapes: mass (N, C), Σ_j T_j; negative_entropy (N,), Σ_j Σ_c T_jc log T_jc; num_pairs (N,).
    """

    mass: Tensor
    negative_entropy: Tensor
    num_pairs: Tensor

    def rows(self, rows: Tensor) -> "SoftTargets":
        """The targets of some nodes."""
        return SoftTargets(self.mass[rows], self.negative_entropy[rows], self.num_pairs[rows])

    def by_node(self) -> "SoftTargets":
        """The same with the mean over a node's pairs in place of their sum: every node counts once."""
        return SoftTargets(
            self.mass / self.num_pairs.unsqueeze(1),
            self.negative_entropy / self.num_pairs,
            torch.ones_like(self.num_pairs),
        )


def tempered_log_probabilities(logits: Tensor, temperature: float, tempering: Tempering) -> Tensor:
    """log softmax(logits/τ), or, as the released code has it, log softmax(logits) / τ; (B, C)."""
    if tempering == "raw_logprob":
        return logits.log_softmax(dim=-1) / temperature
    return (logits / temperature).log_softmax(dim=-1)


def soft_targets(
    teacher_logits: Tensor,
    temperature: float,
    tempering: Tempering,
    pairs: Tensor | None = None,
) -> SoftTargets:
    """Targets of N nodes: each node's own teacher answer, and those of the given pairs.

    Args:
        pairs: (2, M) student node and teacher node of each extra pair.
    """
    log_probabilities = tempered_log_probabilities(teacher_logits, temperature, tempering)
    mass = log_probabilities.exp()
    negative_entropy = (mass * log_probabilities).sum(dim=1)
    num_pairs = torch.ones_like(negative_entropy)
    if pairs is None:
        return SoftTargets(mass, negative_entropy, num_pairs)
    sums = _sums_over_pairs(torch.column_stack([mass, negative_entropy, num_pairs]), pairs)
    return SoftTargets(sums[:, :-2], sums[:, -2], sums[:, -1])


def _sums_over_pairs(values: Tensor, pairs: Tensor) -> Tensor:
    """Each node's row of values (N, C) and those of its pairs' teacher nodes, added up, (N, C), without a row
    for each pair in between."""
    N = len(values)
    own = torch.arange(N, device=values.device).expand(2, -1)
    student, teacher = torch.cat([own, pairs], dim=1)
    offsets = F.pad(torch.bincount(student, minlength=N).cumsum(0), (1, 0))
    members = teacher[student.argsort(stable=True)]
    return bag_sums(values, offsets, members, torch.ones_like(members, dtype=values.dtype))


def distillation_sum(
    logits: Tensor, targets: SoftTargets, temperature: float, tempering: Tempering
) -> Tensor:
    """Σ over pairs of KL(teacher_j ‖ student_i), Hinton et al. 2015; divide by the number of pairs.

    With `raw_logprob` both sides are log-probabilities over τ that are not normalised again: the loss is
    then no divergence, and its gradient in the logits is (S/τ)(softmax(z) − softmax(T/τ)) a pair, where
    S = Σ_c exp(T_c/τ).

    Shapes: logits (B, C); targets of the same B nodes.
    """
    log_probabilities = tempered_log_probabilities(logits, temperature, tempering)
    return targets.negative_entropy.sum() - (targets.mass * log_probabilities).sum()


def hard_label_sum(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Σ over labelled rows of the negative log-likelihood, times the weight of the row's class.

    Shapes: logits (B, C), labels (B,), class_weights (C,).
    """
    return F.cross_entropy(logits, labels, class_weights, reduction="sum")


def self_similarity(memory: Tensor) -> Tensor:
    """Mean cosine between different memories (E, D unit rows): 1 when all point one way. Monitored only;
    the push itself is `students.rbm.memory_ema.repel`."""
    E = memory.shape[0]
    if E < 2:
        return memory.sum() * 0
    return (memory @ memory.T).fill_diagonal_(0).sum() / (E * (E - 1))
