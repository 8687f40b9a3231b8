"""What a teacher leaves. Dimension letters: N observed nodes, U unseen nodes, H hidden, C classes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """A teacher's answers, how steady they are, and what lies behind them.

    Shapes: logits (N, C) of observed nodes, on the observed graph; unseen_logits (U, C) of unseen nodes,
    on the full graph; entropy_shift (N,), None when the teacher cannot be asked again; representations
    (N, H) of observed nodes, the input of the last ReLU, of an ensemble's members side by side, None
    where there is no such layer or it is not known.
    """

    logits: Tensor
    unseen_logits: Tensor
    entropy_shift: Tensor | None
    representations: Tensor | None

    def as_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what there is, by its name."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], device: torch.device) -> Self:
        """Return the result that `as_arrays` was asked of, on a device."""
        tensors = {name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()}
        return cls(**{field.name: tensors.get(field.name) for field in fields(cls)})  # type: ignore[arg-type]
