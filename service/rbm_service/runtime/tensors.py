"""What the engine and the batches share: named tensors, and how they are stacked and cut.

Dimension letters: B batch, S non-zeros of the longest row.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Tensors = Mapping[str, npt.NDArray[Any]]

FEW_NUMBERS: Final = 64  # up to here, plain Python looks at each faster than numpy
ALWAYS: Final = ("probabilities", "experts")
EXPLAINED: Final = (*ALWAYS, "weights", "similarity", "logits")


def num_rows_of(tensors: Tensors) -> int:
    """B."""
    return len(next(iter(tensors.values())))


def padded_width(tensors: Tensors) -> int:
    """S of a graph's inputs; 0 where features are dense."""
    return tensors["feature_ids"].shape[1] if "feature_ids" in tensors else 0


def cut(tensors: Tensors, span: slice) -> Tensors:
    """Some rows of each tensor, as views."""
    return {name: tensor[span] for name, tensor in tensors.items()}


def stack(parts: Sequence[Tensors], padding: Mapping[str, float] = MappingProxyType({})) -> Tensors:
    """Tensors of the same names, one below the other; those named in `padding` are first filled up with it
    to the same width."""
    if len(parts) == 1:
        return parts[0]
    columns = {name: [part[name] for part in parts] for name in parts[0]}
    return {
        name: _stack_padded(tensors, padding[name]) if name in padding else np.concatenate(tensors)
        for name, tensors in columns.items()
    }


def _stack_padded(tensors: Sequence[npt.NDArray[Any]], value: float) -> npt.NDArray[Any]:
    ends = list(accumulate(map(len, tensors)))
    widest = max(tensor.shape[1] for tensor in tensors)
    stacked = np.full((ends[-1], widest), value, tensors[0].dtype)
    for tensor, end in zip(tensors, ends, strict=True):
        stacked[end - len(tensor) : end, : tensor.shape[1]] = tensor
    return stacked
