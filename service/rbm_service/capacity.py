"""How fast rows are computed: measured when a model is warm, then corrected by what batches really take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rbm_service.shapes import floor_power

CORRECTION: Final = 0.2  # how far the pace follows one batch that is as large as those measured


@dataclass(frozen=True, slots=True)
class BatchTable:
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


UNMEASURED: Final = BatchTable({1: 0.0})


class Pace:
    """How long rows that wait will take: the table's word, times how much longer batches took lately."""

    def __init__(self, table: BatchTable) -> None:
        self._table = table
        self._slowdown = 1.0
        self._fastest = table.seconds_per_row

    @property
    def rows_per_second(self) -> float:
        """What the engine can do; infinite where nothing was measured."""
        return 1 / seconds if (seconds := self.seconds_for(1)) else math.inf

    def seconds_for(self, num_rows: int) -> float:
        """Until so many rows are computed, in batches as large as they like; at best, that is."""
        return num_rows * self._fastest * self._slowdown

    def observe(self, num_rows: int, seconds: float) -> None:
        """What a batch took. It counts by how full it was, as most of a small batch's time is not its rows';
        by ratio, so that a batch that was held up once by a thousandfold does not count for a thousand."""
        expected = self._table.seconds_of(num_rows) * self._slowdown
        if expected and seconds:
            weight = CORRECTION * min(1.0, num_rows / self._table.most_rows)
            self._slowdown *= (seconds / expected) ** weight
