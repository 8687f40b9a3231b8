"""Where nodes lie in the graph."""

from typing import Literal

from rbm_training.config.part import Count, Part


class PositionsConfig(Part):
    """Positional encodings: DeepWalk (Perozzi et al. 2014), random walks read by a skip-gram model."""

    kind: Literal["deepwalk", "none"] = "deepwalk"
    """`none`: the student sees features alone."""
    width: Count = 64
    """P, the length of an encoding."""
    walk_length: Count = 50
    """Nodes in a walk."""
    walks_per_node: Count = 5
    """Walks that start at each node."""
    window: Count = 5
    """How far apart in a walk two nodes still see each other."""
    epochs: Count = 1
    """Passes of the skip-gram model over all walks."""
