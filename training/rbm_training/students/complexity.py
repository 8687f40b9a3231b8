"""What a student costs: parameters, and floating-point operations to classify one node.

A multiply and an add are two operations; docs/method.md, "What a student costs", derives the formulas. They
count what is needed, not what a graph of operators happens to do: the chosen experts, all of a row's columns.

Dimension letters: D layer input, H layer output, E experts, K experts per row, R router width.
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from rbm_training.config import StudentConfig

MAX_WIDTH = 1 << 20


@dataclass(frozen=True, slots=True)
class Costs:
    """Parameters (routing memories included) and operations per node."""

    num_parameters: int
    flops_per_node: int

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(self.num_parameters + other.num_parameters, self.flops_per_node + other.flops_per_node)

    def __mul__(self, times: int) -> "Costs":
        return Costs(times * self.num_parameters, times * self.flops_per_node)


def layer_widths(num_inputs: int, num_classes: int, shape: StudentConfig) -> list[int]:
    """[D, H, …, C] of a student, the hidden width by equal cost where that is asked for."""
    if shape.kind == "mlp" and shape.match_budget != "none":
        hidden = _width_of_equal_cost(num_inputs, num_classes, shape)
    else:
        hidden = shape.hidden
    return [num_inputs, *[hidden] * (shape.num_layers - 1), num_classes]


def student_costs(widths: list[int], shape: StudentConfig) -> Costs:
    """Costs of a student with layers of the given widths."""
    sizes = zip(itertools.pairwise(widths), shape.experts_by_layer(len(widths) - 1), strict=True)
    layers = [_layer_costs(D, H, E, shape) for (D, H), E in sizes]
    total = sum(layers, Costs(0, 0))
    return total * shape.num_members if shape.kind == "mlp-ensemble" else total


def _layer_costs(D: int, H: int, E: int, shape: StudentConfig) -> Costs:
    linear = Costs(D * H + H, 2 * D * H)
    if E == 1:
        return linear
    K = min(shape.top_k, E)
    if shape.kind == "moe":
        R, used = shape.hidden, min(K + (shape.router_top_k == "k_plus_1"), E)
        router = Costs(D * R + R + R * E + 1, 2 * D * R + 2 * R * E)
    else:
        used, gains = K, D * shape.input_gains
        router = Costs(E * D + E * gains, 3 * D + 2 * E * D + K * gains)
    mixture = Costs(E * linear.num_parameters + 1, used * (linear.flops_per_node + 2 * H))
    return router + mixture


def _width_of_equal_cost(num_inputs: int, num_classes: int, shape: StudentConfig) -> int:
    """The largest width whose MLP costs no more than the RbM student of the same fields, or 1."""
    cost: Callable[[Costs], int] = {
        "flops": lambda costs: costs.flops_per_node,
        "parameters": lambda costs: costs.num_parameters,
    }[shape.match_budget]

    def of_width(kind: str, hidden: int) -> int:
        changed = shape.model_copy(update={"kind": kind, "hidden": hidden, "match_budget": "none"})
        return cost(student_costs(layer_widths(num_inputs, num_classes, changed), changed))

    target = of_width("rbm", shape.hidden)
    return max(1, bisect_left(range(MAX_WIDTH), target + 1, key=lambda hidden: of_width("mlp", hidden)) - 1)
