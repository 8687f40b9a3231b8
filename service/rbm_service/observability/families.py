"""Metrics as plain numbers, rendered when somebody reads them.

A step of prometheus_client's counters takes four calls and a lock. Here it is `number.value += 1`, in any
thread: CPython changes threads at calls and at the end of loops only, so that an addition in place of plain
numbers is never interrupted. (What is added must be known before: `x.value += f()` reads x, then calls.)

Dimension letters: N numbers, S series, E edges.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from prometheus_client import Metric
from prometheus_client.utils import floatToGoString


@dataclass(slots=True, eq=False)
class Number:
    """A counter or a gauge; `value` may also be a function, which is asked whenever somebody reads."""

    value: Any = 0

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.value += amount

    def read(self) -> tuple[float]:
        """Return what Prometheus reads."""
        return (self.value() if callable(self.value) else self.value,)


class Histogram:
    """How many numbers lie in each bucket, and their sum.

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

    def observe(self, number: float) -> None:
        """Add one number. The hot path does the same in place: a call would cost as much again."""
        self.counts[bisect_left(self.edges, number)] += 1
        self.total += number

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return what Prometheus reads: how many numbers lie up to each edge, and their sum."""
        total, counts = self.total, self.counts[:]  # copied at once: see above
        edges = map(floatToGoString, (*self.edges, float("inf")))
        return list(zip(edges, accumulate(counts), strict=True)), total


S = TypeVar("S", Number, Histogram)


class Family(dict[tuple[str, ...], S]):
    """One metric: its series by the values of their labels, each made when it is first asked for.

    Any thread may ask for a series while another reads. The metric is called as the attribute of the class
    that it is declared in.

    Args:
        metric_class: prometheus_client's, as which a scrape has it.
        new: makes a series in which nothing was counted.
    """

    def __init__(
        self, metric_class: Callable[..., Metric], new: Callable[[], S], documentation: str, *label_names: str
    ) -> None:
        self._metric_class = metric_class
        self._new: Callable[[], S] = new
        self._documentation = documentation
        self._label_names = label_names

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __missing__(self, values: tuple[str, ...]) -> S:
        assert len(values) == len(self._label_names), f"expected {self._label_names}, got {values}"
        return self.setdefault(values, self._new())

    def labels(self, *values: object) -> S:
        """Return the series of some labels, with what was counted under them before."""
        return self[tuple(map(str, values))]

    def count_of(self, *values: object) -> Any:  # noqa: ANN401 - a number
        """Return what a counter or gauge has under some labels: 0 without such a series, and makes none."""
        series = self.get(tuple(map(str, values)))
        return 0 if series is None else series.read()[0]

    def remove(self, keep: Collection[S] = (), /, **labels: object) -> None:
        """Drop the series that have all of these labels, but those to keep; what is still counted in a
        dropped one is not shown."""
        if labels.keys() <= set(self._label_names):
            wanted = {(name, str(value)) for name, value in labels.items()}
            for values, series in list(self.items()):
                if series not in keep and wanted <= set(zip(self._label_names, values, strict=True)):
                    self.pop(values, None)

    def collect(self) -> Metric:
        """Return all series as they are now."""
        metric = self._metric_class(self._name, self._documentation, labels=self._label_names)
        for values, series in list(self.items()):
            metric.add_metric(values, *series.read())  # type: ignore[attr-defined]
        return metric


def observe_each(
    histograms: Sequence[Histogram], index: npt.NDArray[Any], numbers: npt.NDArray[np.floating]
) -> None:
    """Add many numbers (N,), each to the one of S histograms of the same edges that `index` (N,) names."""
    S, edges = len(histograms), histograms[0].edges
    width = len(edges) + 1
    flat = index * width + np.searchsorted(edges, numbers.astype(np.float64, copy=False))
    counts = np.bincount(flat, minlength=S * width).reshape(S, width)
    totals = np.bincount(index, numbers, minlength=S)  # (S,)
    for histogram, row, total in zip(histograms, counts.tolist(), totals.tolist(), strict=True):
        histogram.counts[:] = map(add, histogram.counts, row)
        histogram.total += total
