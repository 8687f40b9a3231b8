"""The MLP: one expert a layer."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

from rbm_training.config import StudentConfig
from rbm_training.students.complexity import Costs
from rbm_training.students.kind import StudentKind
from rbm_training.students.rbm.kind import RBM

MAX_WIDTH = 1 << 20


class PlainKind(StudentKind):
    """Students all of whose layers are plain linear ones."""

    def experts_by_layer(self, num_layers: int, shape: StudentConfig) -> tuple[int, ...]:
        """One everywhere, whatever the fields of mixtures say."""
        return (1,) * num_layers


class MLPKind(PlainKind):
    """One MLP, as wide as `student.hidden` or, with `student.match_budget`, as an RbM student's costs
    allow."""

    def summary(self, student: Mapping[str, Any]) -> str:
        """For the model card."""
        return "an MLP"

    def widths(
        self, num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int = 0
    ) -> list[int]:
        """[D, H, …, C], the hidden width by equal cost where that is asked for."""
        if shape.match_budget != "none":
            hidden = _width_of_equal_cost(num_inputs, num_classes, shape, position_width)
            shape = shape.model_copy(update={"hidden": hidden})
        return super().widths(num_inputs, num_classes, shape, position_width)


MLP: Final = MLPKind()


def _width_of_equal_cost(num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int) -> int:
    """The largest width whose MLP costs no more than the RbM student of the same fields, or 1."""
    cost: Callable[[Costs], int] = {
        "flops": lambda costs: costs.flops_per_node,
        "parameters": lambda costs: costs.num_parameters,
    }[shape.match_budget]

    def of_width(kind: StudentKind, hidden: int) -> int:
        changed = shape.model_copy(update={"hidden": hidden, "match_budget": "none"})
        widths = kind.widths(num_inputs, num_classes, changed, position_width)
        return cost(kind.costs(widths, changed, position_width))

    target = of_width(RBM, shape.hidden)
    return max(1, bisect_left(range(MAX_WIDTH), target + 1, key=lambda hidden: of_width(MLP, hidden)) - 1)
