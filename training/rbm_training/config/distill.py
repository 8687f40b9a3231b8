"""How the student learns."""

from typing import Annotated, Literal

from pydantic import Field

from rbm_training.config.part import Count, Part, Weight


class DistillConfig(Part):
    """How the student learns from labels and teacher."""

    hard_label_weight: Annotated[float, Field(ge=0, le=1)] = 0.2
    """λ: weight of the labels; the teacher gets 1 − λ."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ of the distillation targets."""
    pairs: Literal["auto", "reliable", "self"] = "auto"
    """`reliable` also matches each node to reliable neighbours (KRD, Wu et al. 2023); `self` only to
    itself; `auto` is `reliable` up to a mean degree of 10, above which it was measured to harm, and `self`
    with a precomputed teacher, which cannot be asked how noise moves it."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam."""
    weight_decay: Weight = 5e-4
    """Of Adam, coupled."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 12
    """Epochs in which a single expert learns before the memory is laid out and the experts are cloned."""
    max_epochs: Count = 500
    """Epochs after the switch to routing."""
    patience: Count = 50
    """Epochs without a better validation, counted from the switch."""
    batch_rows: Count | None = None
    """Rows a forward pass takes; unset: all. One optimiser step an epoch either way."""
