"""What a teacher leaves. Dimension letters: N observed nodes, U unseen nodes, H hidden, C classes."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """A teacher's answers, how steady they are, and what lies behind them.

    Shapes: logits (N, C) of observed nodes, on the observed graph; unseen_logits (U, C) of unseen nodes,
    on the full graph; entropy_shift (N,), None when the teacher cannot be asked again; representations
    (N, H) of observed nodes, the input of the last ReLU, of an ensemble's members side by side, None
    where there is no such layer or it is not known.
    """

    logits: Tensor
    unseen_logits: Tensor
    entropy_shift: Tensor | None
    representations: Tensor | None
