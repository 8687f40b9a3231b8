"""Where nodes lie in the graph."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from rbm_training.config.base import Count, FrozenConfig
from rbm_training.config.registry import ENCODINGS

# A step of a walk is drawn by rejection; the further a parameter is from 1, the more draws are in vain.
WalkParameter = Annotated[float, Field(ge=1 / 16, le=16)]

OF_WALKS = {"walk_length", "walks_per_node", "window", "epochs"}
READ_BY = {
    "deepwalk": OF_WALKS,
    "node2vec": OF_WALKS | {"return_parameter", "in_out_parameter"},
    "propagated": {"hops"},
}


class PositionsConfig(FrozenConfig):
    """Positional encodings: what the student knows of a node's place in the graph."""

    kind: Annotated[str, AfterValidator(ENCODINGS.known)] = "deepwalk"
    """`deepwalk`: uniform random walks, read by a skip-gram model (Perozzi et al. 2014); `node2vec`: walks
    that remember where they came from (Grover & Leskovec 2016); `laplacian`: eigenvectors of the normalised
    Laplacian, of the largest connected component alone; `propagated`: features averaged over the
    neighbourhood, cut to their leading directions; `none`: no encoding; or one that a plugin registers."""
    width: Count = 64
    """P, the length of an encoding."""
    label_propagation: bool = False
    """Add C columns: how much of each class's training labels lies around a node, its own label left out."""
    walk_length: Count = 50
    """Nodes in a walk; this and what follows is for `deepwalk` and `node2vec`."""
    walks_per_node: Count = 5
    """Walks that start at each node."""
    window: Count = 5
    """How far apart in a walk two nodes still see each other."""
    epochs: Count = 1
    """Passes of the skip-gram model over all walks."""
    return_parameter: WalkParameter = 1.0
    """p of `node2vec`: above 1, walks turn back less often."""
    in_out_parameter: WalkParameter = 1.0
    """q of `node2vec`: above 1, walks stay near where they came from; below 1, they go away from it."""
    hops: Count = 2
    """How many times `propagated` averages over a node and its neighbours."""

    @model_validator(mode="after")
    def _fields_are_read(self) -> "PositionsConfig":
        if self.kind == "none":  # switched off over an experiment that has some
            return self
        for name, field in PositionsConfig.model_fields.items():
            kinds = [kind for kind, fields in READ_BY.items() if name in fields]
            value = getattr(self, name)
            if kinds and self.kind not in kinds and value != field.default:
                raise ValueError(
                    f"found positions.{name} = {value} with positions.kind = {self.kind!r}, which does not"
                    f" read it; wanted positions.kind = {' or '.join(map(repr, kinds))}"
                )
        return self
