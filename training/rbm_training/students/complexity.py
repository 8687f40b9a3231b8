"""What layers cost: parameters, and floating-point operations to classify one node.

A multiply and an add are two operations; docs/method.md, "What a student costs", derives the formulas. They
count what is needed, not what a graph of operators happens to do: the chosen experts, all columns of a row,
and of the router's those that it reads.

Dimension letters: D layer input, H layer output, E experts.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Parameters (routing memories included) and operations per node.

    `sparse_flops_per_node` is of students of sparse features, and counts those that are not zero alone; sums
    and multiples have none.
    """

    num_parameters: int
    flops_per_node: int
    sparse_flops_per_node: int | None = None

    @property
    def flops(self) -> int:
        """Operations per node, of sparse features those that are not zero."""
        return self.flops_per_node if self.sparse_flops_per_node is None else self.sparse_flops_per_node

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(self.num_parameters + other.num_parameters, self.flops_per_node + other.flops_per_node)

    def __mul__(self, times: int) -> "Costs":
        return Costs(times * self.num_parameters, times * self.flops_per_node)


def linear_costs(D: int, H: int) -> Costs:
    """Costs of a plain linear layer, or of one expert."""
    return Costs(D * H + H, 2 * D * H)


def mixture_costs(D: int, H: int, E: int, num_used: int, router: Costs) -> Costs:
    """Costs of a layer of E experts, `num_used` of which compute a row, and of what routes it."""
    expert = linear_costs(D, H)
    return router + Costs(E * expert.num_parameters + 1, num_used * (expert.flops_per_node + 2 * H))
