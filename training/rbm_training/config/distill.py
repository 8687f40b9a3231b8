"""How the student learns."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from rbm_training.config.base import Count, FrozenConfig, Probability, Weight
from rbm_training.config.registry import LOSSES

MAX_DEFAULT_BATCH_ROWS = 65_536
FEW_LABELS_WEIGHT = 0.2


class DistillConfig(FrozenConfig):
    """How the student learns from labels and teacher."""

    hard_label_weight: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = FEW_LABELS_WEIGHT
    """λ: weight of the labels; the teacher gets 1 − λ. `auto`, the default with `dataset.kind = "files"`: the
    share of the nodes that is learnt from, and at least 0.2."""
    temperature: Annotated[float, Field(gt=0)] = 0.5
    """τ of the distillation targets."""
    pairs: Literal["auto", "reliable", "self"] = "auto"
    """`reliable` also matches each node to reliable neighbours (KRD, Wu et al. 2023); `self` only to
    itself; `auto` is `reliable` where that was measured to help: in the transductive setting, up to a mean
    degree of 10, where labelled neighbours mostly are of one class. Else it is `self`, and with a precomputed
    teacher too, which cannot be asked how noise moves it."""
    pair_weight: Literal["pair", "node"] = "pair"
    """Whether every pair counts the same, and so a node by its degree, or every node."""
    gram: Weight = 0.0
    """Weight of the likeness of hidden representations between nodes, student's to teacher's (NOSMOG, Tian et
    al. 2023)."""
    adversarial: Weight = 0.0
    """Weight of the loss on inputs that were moved against the student (NOSMOG)."""
    adversarial_radius: Annotated[float, Field(gt=0)] = 0.1
    """How far they are moved, relative to the root mean square of the features, and of the positions."""
    position_dropout: Probability = 0.0
    """Share of the nodes, drawn anew each epoch, that the student sees without their positions, as the
    service sees a node of which no neighbour is known; 0.1 with `dataset.kind = "files"`."""
    losses: dict[Annotated[str, AfterValidator(LOSSES.known)], Weight] = Field(default={})
    """Weights of losses that have no field of their own, as those that plugins register, by their names."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam."""
    weight_decay: Weight = 1e-4
    """Of Adam: part of the gradient, so that it is scaled as the gradient is."""
    decoupled_weight_decay: bool = False
    """AdamW instead: a step shrinks weights by `learning_rate` times `weight_decay` of their size, whether an
    expert had rows or not. Adam takes an expert without rows most of its weights in some thirty steps."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 12
    """Epochs in which a single expert learns before routing starts and the experts are cloned."""
    max_epochs: Count = 500
    """Epochs after the switch to routing."""
    patience: Count = 50
    """Epochs without a better validation, counted from the switch."""
    pseudo_unseen_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Inductive: weight of the pseudo-unseen nodes in the validation that selects; the observed ones have the
    rest."""
    batch_rows: Count | None = None
    """Rows a forward pass takes, in training and in evaluation; unset: all, up to 65,536."""
    step_after: Literal["epoch", "batch"] = "epoch"
    """When the optimiser makes a step: once an epoch, whatever the batches, or after each of them."""

    def label_weight(self, training_share: float) -> float:
        """λ, where this share of the nodes is learnt from."""
        weight = self.hard_label_weight
        return max(FEW_LABELS_WEIGHT, training_share) if weight == "auto" else weight

    def rows_per_pass(self, num_rows: int) -> int:
        """Rows that a forward pass takes where there are `num_rows` to learn from."""
        return self.batch_rows or min(num_rows, MAX_DEFAULT_BATCH_ROWS)

    @model_validator(mode="after")
    def _batches_exist(self) -> "DistillConfig":
        if self.step_after == "batch" and self.batch_rows is None:
            raise ValueError("found distill.step_after = 'batch' without distill.batch_rows; wanted both")
        return self
