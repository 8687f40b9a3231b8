"""Who the student learns from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from rbm_training.config.base import Count, FrozenConfig, Probability, Weight
from rbm_training.config.registry import AUTO, PRECOMPUTED, TEACHERS

_READ_BY = {
    **{"heads": ("gat",), "power_iterations": ("appnp",), "teleport": ("appnp",)},
    **{"hops": ("sign", AUTO), "budget": (AUTO,)},
}


MUCH, LITTLE = 5e-4, 1e-5  # weight decay
# The most different ones come first: a graph too large for all of them is taught by these.
CANDIDATES: Final[Sequence[Mapping[str, Any]]] = (
    {"kind": "sign", "weight_decay": LITTLE},
    {"kind": "gcn", "weight_decay": MUCH},
    {"kind": "mlp", "weight_decay": LITTLE},
    {"kind": "sage", "weight_decay": LITTLE},
    {"kind": "sign", "weight_decay": MUCH},
    {"kind": "appnp", "weight_decay": MUCH},
    {"kind": "gcn", "weight_decay": LITTLE},
    {"kind": "sage", "weight_decay": MUCH},
    {"kind": "appnp", "weight_decay": LITTLE},
    {"kind": "gat", "weight_decay": MUCH},
)


class TeacherConfig(FrozenConfig):
    """A GNN and its training; or several of its kind, whose answers are averaged."""

    kind: Annotated[str, AfterValidator(TEACHERS.known)] = "sage"
    """Train this teacher: GraphSAGE-gcn (Hamilton et al. 2017), GCN (Kipf & Welling 2017), GAT (Veličković
    et al. 2018), APPNP (Gasteiger et al. 2019), SIGN (Frasca et al. 2020), `mlp`, which sees no
    graph, or one that a plugin registers; `auto`, the default with `dataset.kind = "files"`: of all built-in
    ones with much and little weight decay, and logistic regression, the mean of the best two on
    validation."""
    members: Count = 1
    """Networks trained from different seeds; the teacher's answer is the mean of their probabilities."""
    num_layers: Count = 2
    """Layers; but for `appnp` also the radius of the neighbourhood that counts."""
    hidden: Count = 128
    """Width of the hidden layers, all heads of `gat` and all hops of `sign` together."""
    heads: Count = 8
    """`gat`: attention heads of every layer but the last, which has one; they share the width evenly."""
    power_iterations: Count = 10
    """`appnp`: steps of the walk, and so the radius of the neighbourhood that counts."""
    teleport: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """`appnp`: share of a node's own answer that returns in each step."""
    hops: Count = 2
    """`sign`: how far features are averaged, and so the radius of the neighbourhood that counts."""
    budget: Count = 400_000_000
    """`auto`: once candidates have passed over so many edges and non-zero features in all their epochs (of
    dense features, 64 values count as one), the next ones are not begun. It counts work and not seconds, so
    that a seed repeats."""
    dropout: Probability = 0.5
    """Before every layer, for `sage` every layer but the first; for `gat` also of attention."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam."""
    weight_decay: Weight = 5e-4
    """Of Adam, coupled."""
    max_epochs: Count = 500
    """Full-batch steps at most."""
    patience: Count = 50
    """Epochs without a better validation before training stops."""

    @property
    def name(self) -> str:
        """What reports call it: the kind and, of an ensemble, the number of members."""
        return self.kind if self.members == 1 else f"{self.kind}-x{self.members}"

    @model_validator(mode="after")
    def _kind_reads_what_is_set(self) -> "TeacherConfig":
        for field, kinds in _READ_BY.items():
            value = getattr(self, field)
            if self.kind not in kinds and value != type(self).model_fields[field].default:
                raise ValueError(
                    f"found teacher.{field} = {value} with teacher.kind = {self.kind!r}, which does not read"
                    f" it; wanted teacher.kind = {' or '.join(map(repr, kinds))}"
                )
        return self

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TeacherConfig":
        if self.kind == "gat" and self.hidden % self.heads:
            raise ValueError(
                f"found teacher.hidden = {self.hidden} with teacher.heads = {self.heads}; wanted a width that"
                " the heads share evenly"
            )
        return self


class PrecomputedTeacherConfig(FrozenConfig):
    """The saved answers of any GNN, from any framework; nothing is trained."""

    kind: Literal["precomputed"]
    """Read the teacher's answers from a file."""
    logits: Path
    """An `.npz` with `logits` (N, C) and, if you like, `node_ids` (N,) by which rows find their nodes; or an
    `.npy` (N, C). Without ids the rows are the nodes in the order of the dataset's source. Columns are the
    classes in the order in which `rbm-train datasets FILE` names them."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.kind


def _source(teacher: object) -> str:
    kind = teacher.get("kind") if isinstance(teacher, Mapping) else getattr(teacher, "kind", None)
    return PRECOMPUTED if kind == PRECOMPUTED else "trained"


AnyTeacherConfig = Annotated[
    Annotated[TeacherConfig, Tag("trained")] | Annotated[PrecomputedTeacherConfig, Tag(PRECOMPUTED)],
    Discriminator(_source),
]
