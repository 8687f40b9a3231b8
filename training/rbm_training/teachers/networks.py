"""Four graph neural networks: GraphSAGE-gcn, GCN, GAT and APPNP.

Each layer maps first and aggregates then: features may be a bag of thousands of words, and a message of
H floats an edge costs a fraction of one of F. In all of them a node is its own neighbour, once.

Dimension letters: N nodes, F features, H hidden, C classes.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar, Self

import torch.nn.functional as F
from torch import Tensor, nn

from rbm_training.config import TeacherConfig
from rbm_training.config.registry import TEACHERS
from rbm_training.data.sparse_rows import dropout
from rbm_training.teachers.attention import GraphAttention
from rbm_training.teachers.inputs import Edges, GraphInputs
from rbm_training.teachers.neighbourhood import Neighbourhood


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """Shapes: logits (N, C); representations (N, H), the input of the last ReLU, None where there is none."""

    logits: Tensor
    representations: Tensor | None


class GraphNetwork(nn.Module):
    """Layers of z = aggregate(h W) + b, with ReLU and dropout between them.

    Args:
        widths: F, the hidden widths, C.
    """

    summary: ClassVar[str]
    """What model cards call it, as in "a GCN teacher"."""
    drops_features: ClassVar[bool] = True
    """Whether dropout comes before the first layer too, as its authors have it."""

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.dropout = dropout
        for linear in self._linears():
            nn.init.xavier_uniform_(linear.weight, gain=nn.init.calculate_gain("relu"))
            nn.init.zeros_(linear.bias)

    @classmethod
    def build(cls, widths: list[int], config: TeacherConfig) -> Self:
        """A network as the experiment describes it."""
        return cls(widths, config.dropout)

    @property
    def first_weight(self) -> Tensor:
        """(H, F): what meets the features, and noise on them, first."""
        return self._linears()[0].weight

    @property
    def radius(self) -> int:
        """Hops from which a node hears."""
        return len(self.linears)

    def flops_per_node(self, around: Neighbourhood) -> float:
        """Operations to answer about one node: a layer maps all nodes that its aggregation reads, and
        aggregates for those that the next layer reads."""
        total = 0.0
        for layer, linear in enumerate(self._linears()):
            hops = self.radius - layer
            total += around.mapping(hops, linear.in_features, linear.out_features)
            total += around.averaging(hops - 1, linear.out_features)
        return total

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """What the nodes hear from their neighbours at a layer: (N, H) to (N, H)."""
        raise NotImplementedError

    def forward(self, inputs: GraphInputs, noise: Tensor | None = None) -> NetworkOutput:
        """Logits of every node.

        Args:
            noise: what noise on the features adds to the first product, (N, H).
        """
        first, *others = self._linears()
        features = dropout(inputs.features, self.dropout, self.training and self.drops_features)
        product = features @ first.weight.T
        if noise is not None:
            product = product + noise
        hidden = self.aggregate(0, product, inputs.edges) + first.bias
        representations = None
        for layer, linear in enumerate(others, start=1):
            representations = hidden
            dropped = F.dropout(hidden.relu(), self.dropout, self.training)
            hidden = self.aggregate(layer, dropped @ linear.weight.T, inputs.edges) + linear.bias
        return NetworkOutput(hidden, representations)

    def _linears(self) -> list[nn.Linear]:
        return [linear for linear in self.linears if isinstance(linear, nn.Linear)]


class GraphSage(GraphNetwork):
    """GraphSAGE with the "gcn" aggregator (Hamilton, Ying & Leskovec, NeurIPS 2017, eq. 2): the mean."""

    summary = "a GraphSAGE teacher"
    drops_features = False

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """The mean over a node and its neighbours."""
        return edges.sums(mapped, edges.mean)


class GCN(GraphNetwork):
    """Graph convolutions (Kipf & Welling, ICLR 2017, eq. 2): D^-1/2 (A + I) D^-1/2."""

    summary = "a GCN teacher"

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """The sum over a node and its neighbours, each by the weight of its edge."""
        return edges.sums(mapped, edges.normalised)


class GAT(GraphNetwork):
    """Graph attention (Veličković et al., ICLR 2018, eqs. 1-5), with one head in the last layer.

    Args:
        heads: of every layer but the last, side by side: each has the layer's width over `heads`.
    """

    summary = "a GAT teacher"

    def __init__(self, widths: list[int], dropout: float, heads: int) -> None:
        super().__init__(widths, dropout)
        *hidden, num_classes = widths[1:]
        shapes = [*((width, heads) for width in hidden), (num_classes, 1)]
        self.attentions = nn.ModuleList(GraphAttention(width, heads, dropout) for width, heads in shapes)

    @classmethod
    def build(cls, widths: list[int], config: TeacherConfig) -> Self:
        """A network as the experiment describes it."""
        return cls(widths, config.dropout, config.heads)

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """The mean over a node and its neighbours, by attention."""
        mean: Tensor = self.attentions[layer](mapped, edges)
        return mean

    def flops_per_node(self, around: Neighbourhood) -> float:
        """With two dot products a mapped node for its scores; softmaxes are left out."""
        widths = (linear.out_features for linear in self._linears())
        scores = (around.mapping(self.radius - layer, width, 2) for layer, width in enumerate(widths))
        return super().flops_per_node(around) + sum(scores)


class APPNP(GraphNetwork):
    """A perceptron whose logits walk the graph (Gasteiger, Bojchevski & Günnemann, ICLR 2019, eq. 4).

    Z ← (1 − α) D^-1/2 (A + I) D^-1/2 Z + α H, a given number of times from Z = H, the perceptron's logits.

    Args:
        teleport: α, the share that returns to the node itself in each step.
    """

    summary = "an APPNP teacher"

    def __init__(self, widths: list[int], dropout: float, power_iterations: int, teleport: float) -> None:
        super().__init__(widths, dropout)
        self.power_iterations = power_iterations
        self.teleport = teleport

    @classmethod
    def build(cls, widths: list[int], config: TeacherConfig) -> Self:
        """A network as the experiment describes it."""
        return cls(widths, config.dropout, config.power_iterations, config.teleport)

    @property
    def radius(self) -> int:
        """The steps of the walk."""
        return self.power_iterations

    def flops_per_node(self, around: Neighbourhood) -> float:
        """The perceptron on all nodes that the walk reads; three operations a class mix in its own answer."""
        sizes = [(linear.in_features, linear.out_features) for linear in self._linears()]
        perceptron = sum(around.mapping(self.radius, *size) for size in sizes)
        C = sizes[-1][1]
        steps = (around.averaging(hops, C) + 3 * C * around.within(hops) for hops in range(self.radius))
        return perceptron + sum(steps)

    def aggregate(self, layer: int, mapped: Tensor, edges: Edges) -> Tensor:
        """Nothing is heard: the layers are those of a perceptron."""
        return mapped

    def forward(self, inputs: GraphInputs, noise: Tensor | None = None) -> NetworkOutput:
        """Logits of every node, after the walk; representations from before it."""
        alone = super().forward(inputs, noise)
        edges, logits = inputs.edges, alone.logits
        for _ in range(self.power_iterations):
            walked = edges.sums(logits, edges.normalised)
            logits = (1 - self.teleport) * walked + self.teleport * alone.logits
        return NetworkOutput(logits, alone.representations)


def build_network(config: TeacherConfig, num_features: int, num_classes: int) -> GraphNetwork:
    """A network of the kind that is asked for, with random weights from torch's generator."""
    widths = [num_features, *[config.hidden] * (config.num_layers - 1), num_classes]
    network: type[GraphNetwork] = TEACHERS[config.kind]
    return network.build(widths, config)
