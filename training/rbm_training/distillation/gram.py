"""Representations alike where the teacher's are: NOSMOG's second term.

Tian et al., "Learning MLPs on Graphs: A Unified View of Effectiveness, Robustness, and Efficiency" (NOSMOG),
ICLR 2023, section on representational similarity. Dimension letters: B batch, H width of the student's first
layer, R width of the teacher's representation.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from rbm_training.data.sparse_rows import unit_rows
from rbm_training.distillation.loss_term import LossBatch, LossContext, LossTerm

MAX_COMPARED_ROWS = 512


class GramTerm(nn.Module):
    """Mean squared difference of cosines between nodes: among students' representations, and the teacher's.

    Cosines, not products, so that the term's size depends neither on widths nor on scales. The student's
    representation passes a layer of its own first, which nobody needs after training.

    Shapes: teacher (N, R) of all observed nodes.
    """

    def __init__(self, width: int, teacher: Tensor, dropout: float) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout))
        self.register_buffer("teacher", unit_rows(teacher))

    def forward(self, representation: Tensor, rows: Tensor) -> Tensor:
        """The term for a batch: representation (B, H) of the nodes `rows` (B,), at most 512 of them."""
        representation, rows = representation[:MAX_COMPARED_ROWS], rows[:MAX_COMPARED_ROWS]
        student = unit_rows(self.head(representation))
        teacher = self.get_buffer("teacher")[rows]
        difference: Tensor = student @ student.T - teacher @ teacher.T
        return difference.pow(2).mean()


class GramLoss(LossTerm):
    """The term on what the student's first layer puts out."""

    def __init__(self, weight: float, context: LossContext) -> None:
        super().__init__(weight, context)
        representations = context.teacher.representations
        assert representations is not None, "the experiment refuses such a teacher"
        first = context.student.expert_layers()[0]
        term = GramTerm(first.weight.shape[2], representations, first.dropout)
        self.term = term.to(context.student.device)

    @classmethod
    def weight_of(cls, name: str, context: LossContext) -> float:
        """Return `distill.gram`."""
        return context.config.gram

    def loss(self, batch: LossBatch) -> Tensor:
        """See `GramTerm`."""
        difference: Tensor = self.term(batch.output.representation, batch.rows)
        return difference

    def parameters(self) -> Iterable[nn.Parameter]:
        """The layer that nobody needs after training."""
        return self.term.parameters()
