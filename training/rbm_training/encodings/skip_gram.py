"""Walks read as sentences by a skip-gram model with hierarchical softmax: DeepWalk and node2vec.

Dimension letters: N nodes, P position width.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from gensim.models import Word2Vec

from rbm_training.config import PositionsConfig
from rbm_training.data.graph import Floats, Graph, Integers
from rbm_training.encodings.walks import second_order_walks, uniform_walks
from rbm_training.runtime.log import RunLog


def encode_by_walks(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P) of nodes that meet on walks; isolated nodes, from which none starts, get zeros."""
    positions = np.zeros((graph.num_nodes, config.width), np.float32)
    connected = np.flatnonzero(np.diff(graph.adjacency.indptr))
    if not len(connected):
        return positions
    generator = np.random.default_rng(seed)
    rounds = []
    with log.stage("positions", config.walks_per_node + 1) as stage:
        for _ in range(config.walks_per_node):
            rounds.append(_walks(graph, generator.permutation(connected), config, generator))
            stage.advance("walking")
        positions[connected] = _skip_gram(Sentences(rounds, graph.num_nodes), connected, config, seed)
        stage.advance("skip-gram")
    return positions


class Sentences:
    """Rounds of walks as sentences, made while they are read: all at once they would fill gigabytes."""

    def __init__(self, rounds: Sequence[Integers], num_nodes: int) -> None:
        self._rounds = rounds
        self._words = np.array([str(node) for node in range(num_nodes)], object)  # one string a node

    def __iter__(self) -> Iterator[list[str]]:
        for walks in self._rounds:
            for walk in walks:
                yield self._words[walk].tolist()


def _walks(
    graph: Graph, starts: Integers, config: PositionsConfig, generator: np.random.Generator
) -> Integers:
    if config.kind == "deepwalk":
        return uniform_walks(graph.adjacency, starts, config.walk_length, generator)
    parameters = config.return_parameter, config.in_out_parameter
    return second_order_walks(graph.adjacency, starts, config.walk_length, *parameters, generator)


def _skip_gram(sentences: Sentences, nodes: Integers, config: PositionsConfig, seed: int) -> Floats:
    """What the model learns of each of the nodes, (len(nodes), P)."""
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
    rows = [model.wv.key_to_index[str(node)] for node in nodes]
    vectors: Floats = model.wv.vectors[rows]
    return vectors
