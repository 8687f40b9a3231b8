"""Inputs moved against the student, to learn from as well: NOSMOG's third term.

Projected gradient steps (Madry et al. 2018) on the scaled inputs, in evaluation mode, so that dropout does
not blur the direction. The radius is relative to each block's root mean square: features and positions differ
in scale. Of sparse features only the stored values move: a word that is absent stays absent.

Dimension letters: B batch, F features, P position width.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from rbm_training.data.sparse_rows import Rows
from rbm_training.distillation.loss_term import LossBatch, LossContext, LossTerm
from rbm_training.students.student import Student

NUM_STEPS = 5
STEP_SHARE = 1 / 4  # of the radius

Loss = Callable[[Tensor], Tensor]


class AdversarialLoss(LossTerm):
    """What labels and teacher ask of inputs moved against the student; its memory does not see them."""

    def __init__(self, weight: float, context: LossContext) -> None:
        super().__init__(weight, context)
        self.radius = context.config.adversarial_radius

    @classmethod
    def weight_of(cls, name: str, context: LossContext) -> float:
        """Return `distill.adversarial`."""
        return context.config.adversarial

    def loss(self, batch: LossBatch) -> Tensor:
        """The supervised loss of the moved batch, which holds the batch's share already."""
        moved = move_against(self.student, batch.scaled, batch.supervised, self.radius)
        return batch.supervised(self.student.classify(moved).logits)

    def part(self, batch: LossBatch) -> Tensor:
        """Return what a batch adds to the epoch's loss, with the weight."""
        return self.weight * self.loss(batch)


def move_against(student: Student, inputs: Rows, loss: Loss, radius: float) -> Rows:
    """Inputs (B, F + P) within the radius for which the loss of the student's logits is larger."""
    was_training = student.training
    student.eval()
    blocks = _blocks(inputs, student.num_features)
    reaches = [radius * block.pow(2).mean().sqrt() if block.numel() else block.sum() for block in blocks]
    shifts = [(2 * torch.rand_like(block) - 1) * reach for block, reach in zip(blocks, reaches, strict=True)]
    for _ in range(NUM_STEPS):
        shifts = _climb(student, inputs, blocks, shifts, reaches, loss)
    student.train(was_training)
    return _with_blocks(inputs, [block + shift for block, shift in zip(blocks, shifts, strict=True)])


def _climb(
    student: Student,
    inputs: Rows,
    blocks: list[Tensor],
    shifts: list[Tensor],
    reaches: list[Tensor],
    loss: Loss,
) -> list[Tensor]:
    variables = [shift.requires_grad_() for shift in shifts]
    moved = _with_blocks(inputs, [block + shift for block, shift in zip(blocks, variables, strict=True)])
    gradients = torch.autograd.grad(loss(student.classify(moved).logits), variables, materialize_grads=True)
    return [
        (shift.detach() + STEP_SHARE * reach * gradient.sign()).clamp(-reach, reach)
        for shift, gradient, reach in zip(variables, gradients, reaches, strict=True)
    ]


def _blocks(inputs: Rows, num_features: int) -> list[Tensor]:
    """Features (of sparse ones the stored values) and positions."""
    if isinstance(inputs, Tensor):
        return [inputs[:, :num_features], inputs[:, num_features:]]
    return [inputs.values, inputs.dense]


def _with_blocks(inputs: Rows, blocks: list[Tensor]) -> Rows:
    features, positions = blocks
    if isinstance(inputs, Tensor):
        return torch.cat([features, positions], dim=1)
    return replace(inputs, values=features, dense=positions)
