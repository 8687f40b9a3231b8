"""Several MLPs as one: their logits averaged.

Dimension letters: D layer input, H layer output, C classes, n members.
"""

import torch

from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.student import Student


def average_students(members: list[Student]) -> Student:
    """One MLP that puts out the mean of the members' logits: their first layers side by side (D, n·H), then
    blocks on a diagonal, at last a mean. The members are MLPs of the same widths and scaling."""
    depth = len(members[0].layers)
    layers = [
        _join([member.expert_layers()[index] for member in members], index, depth) for index in range(depth)
    ]
    return Student(members[0].scaling, layers).to(members[0].device)


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
