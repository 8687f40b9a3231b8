"""Networks that pass no messages between layers: SIGN, which reads averaged features, and a perceptron.

Dimension letters: N nodes, F features, H hidden, C classes, R hops.
"""

from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rbm_training.config import TeacherConfig
from rbm_training.teachers.inputs import Edges
from rbm_training.teachers.neighbourhood import Neighbourhood
from rbm_training.teachers.networks import GraphNetwork


class SIGN(GraphNetwork):
    """A perceptron on features that were averaged over 0, 1, … R hops (Frasca et al., 2020, eq. 4).

    Each hop has a first layer of its own, and what a node says itself is never mixed with what its neighbours
    say. The average is taken after the first layer, which is linear: of H numbers a node and not of F.
    """

    summary = "a SIGN teacher"

    def __init__(self, widths: list[int], dropout: float, hops: int) -> None:
        num_features, *hidden, num_classes = widths
        first, *others = hidden or [num_classes * (hops + 1)]
        first = max(1, first // (hops + 1)) * (hops + 1)  # the hops share the width evenly
        super().__init__([num_features, first], dropout)
        self.hops = hops
        self.linears.extend(GraphNetwork([first, *others, num_classes], dropout).linears)

    @classmethod
    def build(cls, widths: list[int], config: TeacherConfig) -> Self:
        """A network as the experiment describes it."""
        return cls(widths, config.dropout, config.hops)

    @property
    def radius(self) -> int:
        """The hops over which features are averaged."""
        return self.hops

    def flops_per_node(self, around: Neighbourhood) -> float:
        """A block maps the nodes within its hops and averages inwards; all else is for the node alone."""
        first, *others = self._linears()
        width = first.out_features // (self.hops + 1)
        total = sum(around.mapping(0, linear.in_features, linear.out_features) for linear in others)
        for hops in range(self.hops + 1):
            total += around.mapping(hops, first.in_features, width)
            total += sum(around.averaging(nearer, width) for nearer in range(hops))
        return total

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """The blocks of the first layer, the k-th averaged k times: (N, (R + 1)·H)."""
        if layer:
            return mapped
        width = mapped.shape[1] // (self.hops + 1)
        own, rest = mapped[:, :width], mapped[:, width:]
        averaged = [own]
        while rest.shape[1]:
            rest = edges.sums(rest, edges.normalised)
            averaged.append(rest[:, :width])
            rest = rest[:, width:]
        return torch.cat(averaged, dim=1)


class Perceptron(GraphNetwork):
    """A perceptron on a node's own features: what there is to learn without the graph."""

    summary = "a teacher that sees no graph"

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """Nothing is heard."""
        return mapped

    @property
    def radius(self) -> int:
        """None: the node itself is read."""
        return 0

    def flops_per_node(self, around: Neighbourhood) -> float:
        """Those of its layers."""
        return sum(around.mapping(0, each.in_features, each.out_features) for each in self._linears())

    @classmethod
    def of_weights(cls, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Self:
        """A perceptron of one layer that is learnt already: weight (F, C), bias (C,)."""
        network = cls([*weight.shape], dropout=0.0)
        [linear] = network._linears()
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        return network
