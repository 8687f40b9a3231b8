"""What the engine and the batches share: named tensors, how they are stacked, and how long batches take.

Dimension letters: B batch, S non-zeros of the longest row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Tensors = Mapping[str, npt.NDArray[Any]]
Padding = Mapping[str, float]  # by what a tensor is widened, for those that differ in width

ALWAYS: Final = ("probabilities", "experts")
EXPLAINED: Final = (*ALWAYS, "weights", "similarity", "logits")
NO_PADDING: Final[Padding] = {}


def num_rows_of(tensors: Tensors) -> int:
    """B."""
    return len(next(iter(tensors.values())))


def padded_width(tensors: Tensors) -> int:
    """S of a graph's inputs; 0 where features are dense."""
    return tensors["feature_ids"].shape[1] if "feature_ids" in tensors else 0


def stack(parts: Sequence[Tensors], padding: Padding = NO_PADDING) -> Tensors:
    """Tensors of the same names, one below the other; those named in `padding` are first made as wide."""
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


def floor_power(number: int) -> int:
    """The largest power of two that is no more."""
    return 1 << (number.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Seconds of a forward pass by its rows, measured at every power of two up to some largest."""

    seconds: Mapping[int, float]

    @property
    def most_rows(self) -> int:
        """The largest batch that was measured."""
        return max(self.seconds)

    @property
    def seconds_per_row(self) -> float:
        """Of the batch that computes rows fastest."""
        return min(seconds / num_rows for num_rows, seconds in self.seconds.items())

    def seconds_of(self, num_rows: int) -> float:
        """Of any batch: between two that were measured, on the line through both; beyond, in passes."""
        passes, rest = divmod(num_rows, self.most_rows)
        return passes * self.seconds[self.most_rows] + (self._between(rest) if rest else 0.0)

    def _between(self, num_rows: int) -> float:
        lower = floor_power(num_rows)
        if lower == num_rows:
            return self.seconds[lower]
        share = (num_rows - lower) / lower
        return (1 - share) * self.seconds[lower] + share * self.seconds[2 * lower]


UNMEASURED: Final = LatencyTable({1: 0.0})
