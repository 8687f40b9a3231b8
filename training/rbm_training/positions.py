"""Positional encodings: where a node lies in the graph, as a vector that can be cached.

DeepWalk (Perozzi et al., KDD 2014): random walks over the observed graph, read as sentences by a skip-gram
model with hierarchical softmax.
Dimension letters: N nodes, P position width.
"""

import numpy as np
import scipy.sparse as sp
from gensim.models import Word2Vec

from rbm_bundle.nodes import mean_of_known_neighbors
from rbm_training.config import PositionsConfig
from rbm_training.graph import Floats, Graph, Integers, Task
from rbm_training.run_log import RunLog


def random_walks(
    adjacency: sp.csr_array, nodes: Integers, length: int, generator: np.random.Generator
) -> Integers:
    """One uniform walk from each of the given nodes, all at once; (len(nodes), length).

    Every node must have a neighbour.
    """
    indptr, indices = adjacency.indptr.astype(np.int64), adjacency.indices
    degrees = np.diff(indptr)
    walks = np.empty((len(nodes), length), np.int64)
    walks[:, 0] = current = nodes
    for step in range(1, length):
        picks = (generator.random(len(current)) * degrees[current]).astype(np.int64)
        current = indices[indptr[current] + picks].astype(np.int64)
        walks[:, step] = current
    return walks


def encode_positions(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P) of a graph's nodes, the same for the same seed; isolated nodes get zeros.

    Kind `none` gives width 0.
    """
    if config.kind == "none":
        return np.zeros((graph.num_nodes, 0), np.float32)
    positions = np.zeros((graph.num_nodes, config.width), np.float32)
    connected = np.flatnonzero(np.diff(graph.adjacency.indptr))
    if not len(connected):
        return positions
    generator = np.random.default_rng(seed)
    sentences: list[list[str]] = []
    with log.stage("positions", config.walks_per_node + 1) as stage:
        for _ in range(config.walks_per_node):
            starts = generator.permutation(connected)
            walks = random_walks(graph.adjacency, starts, config.walk_length, generator)
            sentences += walks.astype(str).tolist()
            stage.advance("walking")
        vectors = _skip_gram(sentences, config, seed)
        stage.advance("skip-gram")
    for node in connected:
        positions[node] = vectors[str(node)]
    return positions


def _skip_gram(sentences: list[list[str]], config: PositionsConfig, seed: int) -> dict[str, Floats]:
    model = Word2Vec(
        sentences,
        vector_size=config.width,
        window=config.window,
        epochs=config.epochs,
        sg=1,
        hs=1,
        negative=0,
        min_count=0,
        workers=1,  # several would race, and no run would repeat
        seed=seed,
    )
    return {word: model.wv[word] for word in model.wv.index_to_key}


def positions_of(task: Task, positions: Floats, nodes: Integers) -> Floats:
    """Positions (len(nodes), P) by the rule the service uses: the mean over observed neighbours."""
    neighbor_rows = [task.rows_in_observed(task.graph.neighbors_of(node)) for node in nodes]
    means, _ = mean_of_known_neighbors(positions, neighbor_rows)
    return means
