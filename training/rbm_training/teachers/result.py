"""What a teacher leaves. Dimension letters: N observed nodes, U unseen nodes, H hidden, C classes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor

from rbm_training.runtime.artifacts import Artifact
from rbm_training.teachers.ensemble import Member

REGRESSION: Final = "linear"
TENSORS: Final = ("logits", "unseen_logits", "entropy_shift", "representations")


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """A network of a teacher: the part of the experiment that describes it, its best epoch (from 0), and its
    validation accuracy then."""

    described: Mapping[str, Any]
    epoch: int
    val_accuracy: float

    @property
    def is_regression(self) -> bool:
        """Whether it is logistic regression, which has no epochs."""
        return bool(self.described["kind"] == REGRESSION)

    @classmethod
    def of(cls, member: Member) -> Self:
        """What is told of a trained network."""
        return cls(member.described, member.best.epoch, member.best.val_accuracy)


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """A teacher's answers, how steady they are, and what lies behind them.

    Shapes: logits (N, C) of observed nodes, on the observed graph; unseen_logits (U, C) of unseen nodes,
    on the full graph; entropy_shift (N,), None when the teacher cannot be asked again; representations
    (N, H) of observed nodes, the input of the last ReLU, of an ensemble's members side by side, None
    where there is no such layer or it is not known. `members` are the networks that answer together, none
    for saved logits.
    """

    logits: Tensor
    unseen_logits: Tensor
    entropy_shift: Tensor | None
    representations: Tensor | None
    members: tuple[MemberFacts, ...] = ()

    def as_artifact(self) -> Artifact:
        """Return the tensors that there are as arrays, and the members as facts."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}
        return Artifact(arrays, {"members": [asdict(member) for member in self.members]})

    @classmethod
    def from_artifact(cls, artifact: Artifact, device: torch.device) -> Self:
        """Return the result that `as_artifact` was asked of, on a device."""

        def tensor(name: str) -> Tensor | None:
            array = artifact.arrays.get(name)
            return None if array is None else torch.from_numpy(np.array(array)).to(device)

        members = tuple(MemberFacts(**facts) for facts in artifact.facts["members"])
        return cls(**{name: tensor(name) for name in TENSORS}, members=members)  # type: ignore[arg-type]
