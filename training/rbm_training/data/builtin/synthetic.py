"""A generated graph with communities and noisy features: small enough for tests, hard enough to learn."""

import numpy as np

from rbm_training.data.builtin.block_model import draw_edges
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
    edges = draw_edges(generator, labels, mean_degree, homophily)
    centers = generator.standard_normal((num_classes, num_features))
    noise = 2.0 * generator.standard_normal((num_nodes, num_features))
    return Graph(
        name="synthetic",
        adjacency=undirected(edges, num_nodes),
        features=(centers[labels] + noise).astype(np.float32),
        labels=labels.astype(np.int64),
        node_ids=np.arange(num_nodes),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
    )
