"""A generated graph with communities and noisy features: small enough for tests, hard enough to learn."""

import numpy as np

from rbm_training.data.edges import undirected
from rbm_training.data.graph import Graph


def generate_graph(
    seed: int,
    num_nodes: int = 400,
    num_classes: int = 4,
    num_features: int = 32,
    mean_degree: float = 8.0,
    homophily: float = 0.85,
) -> Graph:
    """A stochastic block model whose features are class centres under strong noise.

    Args:
        homophily: probability that an edge stays within its class.
    """
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(num_nodes) % num_classes)
    num_edges = int(num_nodes * mean_degree / 2)
    source = generator.integers(num_nodes, size=num_edges)
    members = [np.flatnonzero(labels == label) for label in range(num_classes)]
    same = np.array([generator.choice(members[labels[node]]) for node in source])
    target = np.where(
        generator.random(num_edges) < homophily, same, generator.integers(num_nodes, size=num_edges)
    )
    centers = generator.standard_normal((num_classes, num_features))
    noise = 2.0 * generator.standard_normal((num_nodes, num_features))
    return Graph(
        name="synthetic",
        adjacency=undirected(np.stack([source, target]), num_nodes),
        features=(centers[labels] + noise).astype(np.float32),
        labels=labels.astype(np.int64),
        node_ids=np.arange(num_nodes),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
    )
