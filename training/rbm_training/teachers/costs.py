"""What an answer of a teacher costs: the neighbourhood that it reads, and what it computes there.

Dimension letters: F features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rbm_training.config import TeacherConfig
from rbm_training.config.registry import AUTO
from rbm_training.data.graph import Graph
from rbm_training.students.complexity import Costs, linear_costs
from rbm_training.teachers.neighbourhood import Neighbourhood
from rbm_training.teachers.networks import GraphNetwork, build_network
from rbm_training.teachers.result import MemberFacts
from rbm_training.teachers.selection import candidate


@dataclass(frozen=True, slots=True)
class TeacherCosts:
    """Costs of all networks together, and the nodes that an answer about one reads, that one included."""

    costs: Costs
    num_nodes_read: float
    mean_degree: float


def teacher_costs(config: TeacherConfig, members: Sequence[MemberFacts], graph: Graph) -> TeacherCosts:
    """What an answer about one node costs, if every node had as many neighbours as the mean one and no two of
    them the same; logistic regression reads the node alone."""
    around = Neighbourhood(graph.num_nodes, graph.adjacency.nnz / graph.num_nodes)
    total, radius = Costs(0, 0), 0
    for member in members:
        if member.is_regression:
            total += linear_costs(graph.num_features, graph.num_classes)
            continue
        network = _network(config, member, graph)
        num_parameters = sum(parameter.numel() for parameter in network.parameters())
        total += Costs(num_parameters, round(network.flops_per_node(around)))
        radius = max(radius, network.radius)
    return TeacherCosts(total, around.within(radius), around.mean_degree)


def _network(config: TeacherConfig, member: MemberFacts, graph: Graph) -> GraphNetwork:
    """A network of the member's shape, without weights."""
    described = candidate(config, member.described) if config.kind == AUTO else config
    with torch.device("meta"):
        return build_network(described, graph.num_features, graph.num_classes)
