"""The MLP: one expert a layer."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rbm_training.config import StudentConfig
from rbm_training.students.budget import InputSize, costs_of, widest
from rbm_training.students.complexity import Costs
from rbm_training.students.kind import StudentKind

MAX_WIDTH = 1 << 20
_OF_MIXTURES = (
    *("match_budget", "match_kind", "num_experts", "moe_layers", "top_k"),
    *("input_gains", "metric", "routing_temperature", "routing_input", "router_top_k"),
    *("routing_projection", "center_queries", "shared_routing", "expert_dropout"),
)


class PlainKind(StudentKind):
    """Students all of whose layers are plain linear ones."""

    def experts_by_layer(self, num_layers: int, shape: StudentConfig) -> tuple[int, ...]:
        """One everywhere, whatever the fields of mixtures say."""
        return (1,) * num_layers


class MLPKind(PlainKind):
    """One MLP, as wide as `student.hidden` or, with `student.match_budget`, as a mixture's costs allow."""

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

    def resolved(
        self, num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int = 0
    ) -> StudentConfig:
        """The MLP by its width, without the mixture that it was measured by."""
        widths = self.widths(num_inputs, num_classes, shape, position_width)
        hidden = widths[1] if shape.num_layers > 1 else shape.hidden
        return shape.model_copy(update={name: _default(name) for name in _OF_MIXTURES} | {"hidden": hidden})


MLP: Final = MLPKind()


def _default(name: str) -> object:
    return StudentConfig.model_fields[name].default


def _width_of_equal_cost(num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int) -> int:
    """The largest width whose MLP costs no more than the mixture of the same fields, or 1."""
    cost: Callable[[Costs], int] = {
        "flops": lambda costs: costs.flops_per_node,
        "parameters": lambda costs: costs.num_parameters,
    }[shape.match_budget]
    size = InputSize(num_inputs, num_classes, position_width)

    def cost_of(name: str, hidden: int) -> int:
        changed = {"kind": name, "moe_layers": None, "hidden": hidden, "match_budget": "none"}
        return cost(costs_of(shape.model_copy(update=changed), size))

    target = cost_of(shape.match_kind, shape.hidden)
    return max(1, widest(lambda hidden: cost_of("mlp", hidden), target, MAX_WIDTH))
