"""Encodings that dictate a routing, to hold one that was found against: `plugins` names this module.

Each is DeepWalk with a code beside it that is so long that the cosine between positions goes by the code
alone: a student with `routing_input = "positions"` and as many experts as there are codes sends the nodes of
a code to one expert. No node that is not in the graph has a code, so such students are compared and never
served.

Dimension letters: N nodes, P position width, C codes.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from rbm_training.config import PositionsConfig, ScalingConfig
from rbm_training.config.registry import ENCODINGS
from rbm_training.data.graph import Floats, Graph, Integers
from rbm_training.data.sparse_rows import unit_rows
from rbm_training.encodings.encode import Encoder
from rbm_training.runtime.log import RunLog

NUM_HASHES: Final = 16
CODE_LENGTH: Final = 4.0
POSITION_LENGTH: Final = ScalingConfig.model_fields["position_norm"].default


def hash_of_nodes(graph: Graph, seed: int) -> Integers:
    """One of 16 codes for each node, which has nothing to do with the node (Roller et al. 2021)."""
    return np.random.default_rng(seed).integers(NUM_HASHES, size=graph.num_nodes)


def class_of_nodes(graph: Graph, seed: int) -> Integers:
    """The true class, also of test nodes: what the best of all routers would know."""
    return graph.labels


def _beside_deepwalk(codes_of: Callable[[Graph, int], Integers]) -> Encoder:
    def encode(graph: Graph, config: PositionsConfig, seed: int, log: RunLog) -> Floats:
        deepwalk: Encoder = ENCODINGS["deepwalk"]
        walked = torch.from_numpy(deepwalk(graph, config.model_copy(update={"kind": "deepwalk"}), seed, log))
        codes = codes_of(graph, seed)
        one_hot = np.eye(codes.max() + 1, dtype=np.float32)[codes]
        return np.hstack([POSITION_LENGTH * unit_rows(walked).numpy(), CODE_LENGTH * one_hot])

    return encode


ENCODINGS.register("hash-coded", _beside_deepwalk(hash_of_nodes))
ENCODINGS.register("class-coded", _beside_deepwalk(class_of_nodes))
