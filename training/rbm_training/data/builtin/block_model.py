"""Edges of a stochastic block model.

Dimension letters: N nodes, M edges.
"""

import numpy as np

from rbm_training.data.graph import Integers


def draw_edges(
    generator: np.random.Generator, groups: Integers, mean_degree: float, homophily: float
) -> Integers:
    """Edges (2, M), as drawn: either way round, some of them twice, some from a node to itself.

    Args:
        groups: the group of each node, (N,), from 0 without a gap.
        homophily: probability that an edge stays within its group.
    """
    num_nodes = len(groups)
    source = generator.integers(num_nodes, size=int(num_nodes * mean_degree / 2))
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    same = np.array([generator.choice(members[groups[node]]) for node in source])
    stays = generator.random(len(source)) < homophily
    return np.stack([source, np.where(stays, same, generator.integers(num_nodes, size=len(source)))])
