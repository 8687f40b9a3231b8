"""How sure the answers are: a histogram that takes a whole batch at once.

That of prometheus_client takes one number at a time, which for a large batch is as much work as the batch.
Dimension letters: B rows, C classes.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

NAME: Final = "rbm_confidence"
EDGES: Final = np.arange(1, 11) / 10
NUM_BUCKETS: Final = len(EDGES) + 1  # the last one has no edge


@dataclass(slots=True)
class _Series:
    """Rows by bucket, each counted in one, and the sum of their probabilities."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(NUM_BUCKETS, np.int64))
    total: float = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: rows up to each edge."""
        edges = [*map(floatToGoString, EDGES.tolist()), "+Inf"]
        return list(zip(edges, np.cumsum(self.counts).astype(float).tolist(), strict=True))


class Confidence(Collector):
    """`rbm_confidence`, by model and class; batches come from one thread, scrapes from another."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._lock = threading.Lock()

    def expect(self, name: str, labels: Sequence[str]) -> None:
        """Show classes that no row was given yet; what was counted of a class before goes on."""
        with self._lock:
            for label in labels:
                self._series.setdefault((name, label), _Series())

    def count(
        self,
        name: str,
        labels: Sequence[str],
        class_index: npt.NDArray[Any],
        confidence: npt.NDArray[Any],
    ) -> None:
        """Add a batch: the most probable class of each row, (B,), and its probability, (B,)."""
        C = len(labels)
        buckets = np.searchsorted(EDGES, confidence.astype(np.float64))  # (B,)
        flat = class_index * NUM_BUCKETS + buckets
        counts = np.bincount(flat, minlength=C * NUM_BUCKETS).reshape(C, NUM_BUCKETS)
        totals = np.bincount(class_index, confidence, minlength=C)  # (C,)
        with self._lock:
            for index in np.flatnonzero(counts.any(axis=1)).tolist():
                series = self._series.setdefault((name, labels[index]), _Series())
                series.counts += counts[index]
                series.total += float(totals[index])

    def forget(self, name: str, label: str) -> None:
        """Drop a class."""
        with self._lock:
            self._series.pop((name, label), None)

    def forget_model(self, name: str) -> None:
        """Drop all classes of a model."""
        with self._lock:
            self._series = {key: series for key, series in self._series.items() if key[0] != name}

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What a scrape gets."""
        family = HistogramMetricFamily(
            NAME, "Probability of the most probable class", labels=("model_name", "label")
        )
        with self._lock:
            for key, series in self._series.items():
                family.add_metric(key, series.buckets(), series.total)
        yield family
