"""Walks read as sentences by a skip-gram model with hierarchical softmax: DeepWalk and node2vec.

Dimension letters: N nodes, P position width.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from gensim.models import Word2Vec

from rbm_training.config import PositionsConfig
from rbm_training.data.graph import Floats, Graph, Integers
from rbm_training.encodings.walks import second_order_walks, uniform_walks
from rbm_training.runtime.log import RunLog

WALKS_PER_STEP: Final = 1000  # of progress


def encode_by_walks(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
    """Positions (N, P) of nodes that meet on walks; isolated nodes, from which none starts, get zeros."""
    positions = np.zeros((graph.num_nodes, config.width), np.float32)
    connected = np.flatnonzero(np.diff(graph.adjacency.indptr))
    if not len(connected):
        return positions
    generator = np.random.default_rng(seed)
    rounds = []
    with log.stage("walks", config.walks_per_node) as stage:
        for _ in range(config.walks_per_node):
            rounds.append(_walks(graph, generator.permutation(connected), config, generator))
            stage.advance()
    num_steps = config.epochs * math.ceil(config.walks_per_node * len(connected) / WALKS_PER_STEP)
    with log.stage("positions", num_steps) as stage:
        sentences = Sentences(rounds, graph.num_nodes, stage.advance)
        positions[connected] = _skip_gram(sentences, connected, config, seed)
    return positions


class Sentences:
    """Rounds of walks as sentences, made while they are read: all at once they would fill gigabytes.

    Args:
        advance: called after every so many walks, but not in the first reading, which only counts words.
    """

    def __init__(self, rounds: Sequence[Integers], num_nodes: int, advance: Callable[[], None]) -> None:
        self._rounds = rounds
        self._advance = advance
        self._has_counted = False
        self._words = np.array([str(node) for node in range(num_nodes)], object)  # one string a node

    def __iter__(self) -> Iterator[list[str]]:
        last = sum(map(len, self._rounds)) - 1
        for number, walk in enumerate(itertools.chain.from_iterable(self._rounds)):
            yield self._words[walk].tolist()
            if self._has_counted and (number % WALKS_PER_STEP == WALKS_PER_STEP - 1 or number == last):
                self._advance()
        self._has_counted = True


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
