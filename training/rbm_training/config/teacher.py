"""Who the student learns from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from rbm_training.config.part import Count, Part, Probability, Weight


class TeacherConfig(Part):
    """The GraphSAGE-gcn teacher (Hamilton et al. 2017) and its training."""

    kind: Literal["sage"] = "sage"
    """Train this teacher."""
    num_layers: Count = 2
    """Layers, and so the radius of the neighbourhood that counts."""
    hidden: Count = 128
    """Width of the hidden layers."""
    dropout: Probability = 0.5
    """Before every layer but the first."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam."""
    weight_decay: Weight = 5e-4
    """Of Adam, coupled."""
    max_epochs: Count = 500
    """Full-batch steps at most."""
    patience: Count = 50
    """Epochs without a better validation before training stops."""


class PrecomputedTeacherConfig(Part):
    """The saved answers of any GNN, from any framework; nothing is trained."""

    kind: Literal["precomputed"]
    """Read the teacher's answers from a file."""
    logits: Path
    """An `.npz` with `logits` (N, C) and, if you like, `node_ids` (N,) by which rows find their nodes; or an
    `.npy` (N, C). Without ids the rows are the nodes in the order of the dataset's source. Columns are the
    classes in the order in which `rbm-train datasets FILE` names them."""


def _teacher_kind(teacher: object) -> object:
    return teacher.get("kind", "sage") if isinstance(teacher, dict) else getattr(teacher, "kind", None)


AnyTeacherConfig = Annotated[
    Annotated[TeacherConfig, Tag("sage")] | Annotated[PrecomputedTeacherConfig, Tag("precomputed")],
    Discriminator(
        _teacher_kind,
        custom_error_type="teacher_kind",
        custom_error_message="teacher.kind should be 'sage' or 'precomputed'",
    ),
]
