"""A generated graph on which no single linear map can serve all nodes: the positive control of routing.

Dimension letters: N nodes, F features, G communities, C classes.
"""

import numpy as np

from rbm_training.data.builtin.block_model import draw_edges
from rbm_training.data.edges import undirected
from rbm_training.data.graph import Graph


def generate_permuted_graph(
    seed: int,
    num_nodes: int = 6000,
    num_communities: int = 16,
    num_classes: int = 8,
    num_features: int = 256,
    mean_degree: float = 10.0,
    homophily: float = 0.9,
    noise: float = 0.5,
) -> Graph:
    """A stochastic block model of communities each of which permutes what the features mean.

    A node of class c in community g has features p[π_g(c)] + s_g + noise: one of C prototypes p, by a
    permutation π_g of the classes that is the community's own, and the signature s_g of the community.
    Prototypes alone say nothing of the class; with the community, which is what edges tell, a linear map is
    enough. So a student of one linear map per community is right nearly always, and a single one has to
    tell G · C prototypes apart.

    Args:
        homophily: probability that an edge stays within its community.
    """
    generator = np.random.default_rng(seed)
    community = generator.permutation(np.arange(num_nodes) % num_communities)
    labels = generator.integers(num_classes, size=num_nodes)
    edges = draw_edges(generator, community, mean_degree, homophily)
    meaning = np.stack([generator.permutation(num_classes) for _ in range(num_communities)])  # (G, C)
    prototypes = generator.standard_normal((num_classes, num_features))
    signatures = generator.standard_normal((num_communities, num_features))
    own_noise = noise * generator.standard_normal((num_nodes, num_features))
    features = prototypes[meaning[community, labels]] + signatures[community] + own_noise
    return Graph(
        name="permuted-communities",
        adjacency=undirected(edges, num_nodes),
        features=features.astype(np.float32),
        labels=labels.astype(np.int64),
        node_ids=np.arange(num_nodes),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
    )
