"""Several MLPs as one: their logits averaged.

Dimension letters: D layer input, H layer output, C classes, n members.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch

from rbm_training.config import StudentConfig
from rbm_training.students.complexity import Costs
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.mlp import PlainKind
from rbm_training.students.student import Student


class MLPEnsembleKind(PlainKind):
    """`student.num_members` MLPs, trained from seeds of their own and joined by their mean logits."""

    def summary(self, student: Mapping[str, Any]) -> str:
        """For the model card."""
        return f"the mean of {student.get('num_members', 'several')} MLPs"

    def layer_costs(self, widths: list[int], shape: StudentConfig, position_width: int) -> Costs:
        """The costs of all members."""
        return super().layer_costs(widths, shape, position_width) * shape.num_members

    def num_members(self, shape: StudentConfig) -> int | None:
        """How many MLPs are trained."""
        return shape.num_members

    def join(self, members: list[Student]) -> Student:
        """One MLP that says the mean of what its members say."""
        return average_students(members)


MLP_ENSEMBLE: Final = MLPEnsembleKind()


def average_students(members: list[Student]) -> Student:
    """One MLP that puts out the mean of the members' logits: their first layers side by side (D, n·H), then
    blocks on a diagonal, at last a mean. The members are MLPs of the same widths and scaling."""
    depth = len(members[0].layers)
    layers = [
        _join([member.expert_layers()[index] for member in members], index, depth) for index in range(depth)
    ]
    return Student(members[0].scaling, layers, members[0].kind).to(members[0].device)


@torch.no_grad()
def _join(parts: list[ExpertLayer], index: int, depth: int) -> ExpertLayer:
    weights = [part.weight[0] for part in parts]
    biases = [part.bias[0] for part in parts]
    is_first, is_last = index == 0, index == depth - 1
    if is_first and is_last:
        weight = torch.stack(weights).mean(dim=0)
    elif is_first:
        weight = torch.cat(weights, dim=1)
    elif is_last:
        weight = torch.cat(weights, dim=0) / len(parts)
    else:
        weight = torch.block_diag(*weights)
    bias = torch.stack(biases).mean(dim=0) if is_last else torch.cat(biases)
    joined = ExpertLayer(*weight.shape)
    joined.weight.copy_(weight.unsqueeze(0))
    joined.bias.copy_(bias.unsqueeze(0))
    return joined
