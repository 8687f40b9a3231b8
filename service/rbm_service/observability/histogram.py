"""Histograms that take many numbers at once.

Those of prometheus_client take one number at a time, which for the rows of a large batch is as much work as
the batch, and for the stages of a request more than looking up its node. Dimension letters: N numbers,
S series, E edges.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Numbers = npt.NDArray[np.floating[Any]]


class Series:
    """What was observed under one set of labels."""

    __slots__ = ("_counts", "_histogram", "_total")

    def __init__(self, histogram: "BulkHistogram") -> None:
        self._histogram = histogram
        self._counts = np.zeros(histogram.num_buckets, np.int64)  # each number in one bucket
        self._total = 0.0

    @property
    def count(self) -> int:
        """How many numbers."""
        return int(self._counts.sum())

    @property
    def total(self) -> float:
        """The sum of them."""
        return self._total

    def observe(self, numbers: Sequence[float] | Numbers) -> None:
        """Add numbers, shape (N,)."""
        values = np.asarray(numbers, np.float64)
        self._histogram.observe_each([self], np.zeros(len(values), np.int64), values)

    def add(self, counts: npt.NDArray[np.int64], total: float) -> None:
        """Add numbers that are in their buckets already."""
        self._counts += counts
        self._total += total

    def cumulative(self) -> list[float]:
        """As Prometheus wants them: numbers up to each edge."""
        return [float(count) for count in np.cumsum(self._counts)]


class BulkHistogram(Collector):
    """A histogram with labels; one thread may observe while another scrapes.

    Args:
        edges: the upper bounds of all buckets but the last, which has none; rising, shape (E,).
        registry: where it shows.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Sequence[str],
        edges: Iterable[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label_names = tuple(label_names)
        self._edges = np.array(list(edges), np.float64)
        self._series: dict[tuple[str, ...], Series] = {}
        self._lock = threading.Lock()
        registry.register(self)

    @property
    def num_buckets(self) -> int:
        """E + 1."""
        return len(self._edges) + 1

    def labels(self, *values: object) -> Series:
        """The series of some labels; what was observed under them before goes on."""
        with self._lock:
            return self._series.setdefault(tuple(map(str, values)), Series(self))

    def observe_each(self, series: Sequence[Series], index: npt.NDArray[Any], numbers: Numbers) -> None:
        """Add numbers (N,), each to the series of S that `index` (N,) names."""
        S, width = len(series), self.num_buckets
        flat = index * width + np.searchsorted(self._edges, numbers.astype(np.float64, copy=False))
        counts = np.bincount(flat, minlength=S * width).reshape(S, width)
        totals = np.bincount(index, numbers, minlength=S)  # (S,)
        with self._lock:
            for place in np.flatnonzero(counts.any(axis=1)).tolist():
                series[place].add(counts[place], float(totals[place]))

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Drop every series that has these labels among its own."""
        wanted = [(self._label_names.index(name), value) for name, value in labels.items()]
        with self._lock:
            self._series = {
                key: series
                for key, series in self._series.items()
                if any(key[place] != value for place, value in wanted)
            }

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The histogram without its series, so that a registry knows its name."""
        yield self._family()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What a scrape gets."""
        family = self._family()
        edges = [*map(floatToGoString, self._edges.tolist()), "+Inf"]
        with self._lock:
            for key, series in self._series.items():
                buckets = list(zip(edges, series.cumulative(), strict=True))
                family.add_metric(key, buckets, series.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
