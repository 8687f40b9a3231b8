"""How fast rows are computed: measured when a model is warm, then corrected by what batches really take."""

import math
from typing import Final

from rbm_service.runtime.tensors import LatencyTable

CORRECTION: Final = 0.2  # how far the estimate follows one batch that is as large as those measured


class ThroughputEstimator:
    """How long rows that wait will take: the table's word, times how much longer batches took lately."""

    def __init__(self, table: LatencyTable) -> None:
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
        """Learn from what a batch took. It counts by how full it was, as most of a small batch's time is not
        its rows'; by ratio, so that a batch that was held up once by a thousandfold does not count for a
        thousand."""
        expected = self._table.seconds_of(num_rows) * self._slowdown
        if expected and seconds:
            weight = CORRECTION * min(1.0, num_rows / self._table.most_rows)
            self._slowdown *= (seconds / expected) ** weight
