"""How wide a student may be for a budget.

Dimension letters: D layer input, P position width, H layer output, C classes.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rbm_training.config import StudentConfig
from rbm_training.config.base import ConfigError
from rbm_training.students.complexity import Costs
from rbm_training.students.kind import student_kind

LEAST_HIDDEN: Final = 2
MOST_HIDDEN: Final = 1_024


@dataclass(frozen=True, slots=True)
class InputSize:
    """What the costs of a student depend on besides itself: D inputs, the last P of them positions, C
    classes and, of sparse features, how many of a row are not zero on average."""

    num_inputs: int
    num_classes: int
    position_width: int = 0
    num_nonzero: float | None = None


def widths_of(student: StudentConfig, size: InputSize) -> list[int]:
    """The widths [D, H, …, C] of a student's layers."""
    kind = student_kind(student.kind)
    return kind.widths(size.num_inputs, size.num_classes, student, size.position_width)


def costs_of(student: StudentConfig, size: InputSize) -> Costs:
    """Return what a student costs."""
    kind, widths = student_kind(student.kind), widths_of(student, size)
    return kind.costs(widths, student, size.position_width, size.num_nonzero)


def widest(cost_of: Callable[[int], int], budget: int, most: int) -> int:
    """The largest width, `most` or less, that costs no more than a budget; 0 where none does."""
    return bisect_right(range(1, most + 1), budget, key=cost_of)


def within_budget(students: Sequence[StudentConfig], size: InputSize) -> list[StudentConfig]:
    """Give students the width that their `max_flops` allows, up to `MOST_HIDDEN`, and leave out those that
    no width makes cheap enough; students without a budget stay as they are.

    Raises:
        ConfigError: none is left.
    """
    fitted = [_fitted(student, size) for student in students]
    left = [student for student in fitted if student is not None]
    if not left:
        cost, kind = min((_flops(student, LEAST_HIDDEN, size), student.kind) for student in students)
        raise ConfigError(
            f"found student.max_flops = {students[0].max_flops:,}; wanted at least {cost:,}, which the"
            f" smallest student that may be chosen ({kind}) takes to classify a node of this graph"
        )
    return left


def _fitted(student: StudentConfig, size: InputSize) -> StudentConfig | None:
    budget = student.max_flops
    if budget is None:
        return student
    if _flops(student, LEAST_HIDDEN, size) > budget:
        return None
    has_hidden = len(widths_of(student, size)) > 2
    hidden = widest(lambda hidden: _flops(student, hidden, size), budget, MOST_HIDDEN)
    return student.model_copy(update={"max_flops": None} | ({"hidden": hidden} if has_hidden else {}))


def _flops(student: StudentConfig, hidden: int, size: InputSize) -> int:
    return costs_of(student.model_copy(update={"hidden": hidden}), size).flops
