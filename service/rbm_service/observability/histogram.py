"""Histograms as lists of plain counts, for one number or for the rows of a whole batch at a time.

Dimension letters: N numbers, S series, E edges.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client.utils import floatToGoString

Numbers = npt.NDArray[np.floating[Any]]
Sample = tuple[str, dict[str, str], float]  # what follows the metric's name, further labels, the value


class Histogram:
    """What was observed under one set of labels: how many numbers lie in each bucket, and their sum.

    The number of observations is the sum of the buckets and is kept nowhere else. So whoever reads while
    another thread counts sees buckets and a count that agree; `total` may lag by the last observation.

    Attributes:
        edges: the upper bounds of all buckets but the last, which has none; rising, shape (E,).
        counts: numbers in each bucket, shape (E + 1,).
    """

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        """How many numbers were observed."""
        return sum(self.counts)

    def observe(self, number: float) -> None:
        """Add one number."""
        self.counts[bisect_left(self.edges, number)] += 1
        self.total += number

    def samples(self) -> Iterator[Sample]:
        """Yield what Prometheus reads: numbers up to each edge, their count and their sum."""
        total, up_to = self.total, list(accumulate(list(self.counts)))  # copied at once: see above
        for edge, count in zip((*self.edges, float("inf")), up_to, strict=True):
            yield "_bucket", {"le": floatToGoString(edge)}, count  # type: ignore[no-untyped-call]
        yield "_count", {}, up_to[-1]
        yield "_sum", {}, total


def observe_each(histograms: Sequence[Histogram], index: npt.NDArray[Any], numbers: Numbers) -> None:
    """Add many numbers (N,), each to the one of S histograms of the same edges that `index` (N,) names."""
    S, edges = len(histograms), histograms[0].edges
    width = len(edges) + 1
    flat = index * width + np.searchsorted(edges, numbers.astype(np.float64, copy=False))
    counts = np.bincount(flat, minlength=S * width).reshape(S, width)
    totals = np.bincount(index, numbers, minlength=S)  # (S,)
    for histogram, row, total in zip(histograms, counts.tolist(), totals.tolist(), strict=True):
        for bucket, count in enumerate(row):
            if count:
                histogram.counts[bucket] += count
        histogram.total += total
