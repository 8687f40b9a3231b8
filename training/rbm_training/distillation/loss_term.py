"""What a loss is that comes beside those of labels and teacher, each in a file of its own.

Dimension letters: N observed nodes, B batch, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from rbm_training.config import DistillConfig, RoutingConfig
from rbm_training.config.registry import LOSSES
from rbm_training.data.sparse_rows import Rows
from rbm_training.students.routing import LayerRouting
from rbm_training.students.student import Student, StudentOutput
from rbm_training.teachers import TeacherResult


@dataclass(frozen=True, slots=True)
class LossContext:
    """What is there before the first epoch: the student, its teacher, and what the experiment asks for."""

    student: Student
    teacher: TeacherResult
    config: DistillConfig
    routing: RoutingConfig


@dataclass(frozen=True, slots=True)
class LossBatch:
    """A batch that the student has classified.

    `layers` is how it was routed, empty in the warm-up; `share` the batch's part of all observed nodes;
    `supervised` the loss of labels and teacher for any logits (B, C) of the batch, with their weights.

    Shapes: rows (B,) numbers of observed nodes; scaled (B, F + P).
    """

    rows: Tensor
    scaled: Rows
    output: StudentOutput
    layers: tuple[LayerRouting, ...]
    share: float
    supervised: Callable[[Tensor], Tensor]


class LossTerm(ABC):
    """A loss with a weight; parameters of its own learn beside the student's and are forgotten after."""

    def __init__(self, weight: float, context: LossContext) -> None:
        self.weight = weight
        self.student = context.student

    @classmethod
    def weight_of(cls, name: str, context: LossContext) -> float:
        """Return the weight that the experiment gives the loss: its entry in `distill.losses`."""
        return context.config.losses.get(name, 0.0)

    @abstractmethod
    def loss(self, batch: LossBatch) -> Tensor:
        """Return the mean over a batch, without the weight."""

    def part(self, batch: LossBatch) -> Tensor:
        """Return what a batch adds to the epoch's loss, with the weight."""
        return batch.share * self.weight * self.loss(batch)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return what the optimiser has to move besides the student."""
        return ()


def build_terms(context: LossContext) -> dict[str, LossTerm | None]:
    """Every registered loss by its name, None for those of weight 0."""
    terms: dict[str, LossTerm | None] = {}
    for name in LOSSES:
        term: type[LossTerm] = LOSSES[name]
        weight = term.weight_of(name, context)
        terms[name] = term(weight, context) if weight > 0 else None
    return terms
