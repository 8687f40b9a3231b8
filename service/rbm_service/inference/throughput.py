"""How fast rows are computed: measured when a model is warm, then corrected by what batches really take."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

CORRECTION: Final = 0.2  # how far the estimate follows one batch that is as large as those measured
UNMEASURED: Final = {1: 0.0}


class ThroughputEstimator:
    """How long rows that wait will take: by what was measured, times how much longer batches took lately.

    Args:
        measured: seconds of a batch by its rows, at every power of two up to some largest.
    """

    def __init__(self, measured: Mapping[int, float]) -> None:
        self._sizes, self._seconds = sorted(measured), [measured[size] for size in sorted(measured)]
        self._slowdown = 1.0
        self._fastest = min(seconds / size for size, seconds in measured.items())  # a row of the best batch

    @property
    def rows_per_second(self) -> float:
        """What the engine can do; infinite where nothing was measured."""
        return 1 / seconds if (seconds := self.seconds_for(1)) else math.inf

    def seconds_for(self, num_rows: int) -> float:
        """Until so many rows are computed, in batches as large as they like; at best, that is."""
        return num_rows * self._fastest * self._slowdown

    def seconds_of(self, num_rows: int) -> float:
        """What one batch takes: between two measured ones, on the line through both; beyond, in passes."""
        passes, rest = divmod(num_rows, self._sizes[-1])
        seconds = passes * self._seconds[-1]
        if rest:
            seconds += float(np.interp(rest, self._sizes, self._seconds))
        return seconds * self._slowdown

    def observe(self, num_rows: int, seconds: float) -> None:
        """Learn from what a batch took. It counts by how full it was, as most of a small batch's time is not
        its rows'; by ratio, so that a batch that was held up once by a thousandfold does not count for a
        thousand."""
        expected = self.seconds_of(num_rows)
        if expected and seconds:
            weight = CORRECTION * min(1.0, num_rows / self._sizes[-1])
            self._slowdown *= (seconds / expected) ** weight
