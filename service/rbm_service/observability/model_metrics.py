"""The metrics of one version of a model, bound once: finding a label child costs more than incrementing it.

Dimension letters: B rows, C classes, L layers, E experts, K experts per row.
"""

from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter

from rbm_bundle.manifest import NO_EXPERT
from rbm_service.observability.histogram import Numbers
from rbm_service.observability.metrics import POSITION_RESULTS, STAGES, Metrics, Stage

ROWS_PER_ENTRY: Final = 64  # of a batch, that are summed up as fast as something else is

Indices = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class StageTotal:
    """All that was spent in one stage, and by how many requests."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """What a version of a model has done since it was loaded."""

    num_rows: int
    num_executions: int
    stages: Mapping[Stage, StageTotal]


class ModelMetrics:
    """The children of one model's metrics.

    Attributes:
        stages: takes, of each request, the seconds that it spent in each stage.
    """

    def __init__(
        self, metrics: Metrics, name: str, version: str, labels: Sequence[str], num_experts: Sequence[int]
    ) -> None:
        both = (name, version)
        self._journal = metrics.journal
        self.stages = self._journal.page(self._add_stages)
        self._position_sources = self._journal.page(self._add_positions)
        self._executed = self._journal.page(self._add_executions)
        self._batches = self._journal.page(self._add_batches)
        self._stages = {stage: metrics.stage_duration.labels(stage, *both) for stage in STAGES}
        self._requests = metrics.inference_requests.labels(*both)
        self._rows = metrics.inference_rows.labels(*both)
        self._executions = metrics.inference_executions.labels(*both)
        self._batch_rows = metrics.batch_rows.labels(name)
        self.queues = metrics.queues_of(name)
        self.queue_capacity_rows = metrics.queue_capacity_rows.labels(name)
        self.capacity = metrics.capacity.labels(name)
        self.engine_healthy = metrics.engine_healthy.labels(name)
        self.engine_restarts = metrics.engine_restarts.labels(name)
        self.abstained = metrics.abstained.labels(*both)
        self._positions = {
            result: metrics.position_lookups.labels(name, result) for result in POSITION_RESULTS
        }
        self._classes = [metrics.prediction_class.labels(name, label) for label in labels]
        self._confidence = metrics.confidence
        self._confidences = [metrics.confidence.labels(name, label) for label in labels]
        self._experts = [
            [metrics.expert_selected.labels(name, layer, expert) for expert in range(E)]
            for layer, E in enumerate(num_experts)
        ]

    def totals(self) -> ModelTotals:
        """What the metrics of this version have come to."""
        self._journal.settle()
        stages = {stage: StageTotal(series.count, series.total) for stage, series in self._stages.items()}
        return ModelTotals(int(_value(self._rows)), int(_value(self._executions)), stages)

    def count_positions(self, sources: Sequence[str]) -> None:
        """Where the position of each row of a request came from; whoever gave it changes it no more."""
        self._position_sources.note(sources, 1 + len(sources) // ROWS_PER_ENTRY)

    def count_missing(self, num_rows: int) -> None:
        """Rows of a request that have no position."""
        self.count_positions(["missing"] * num_rows)

    def count_execution(self, num_rows: int) -> None:
        """One forward pass."""
        self._executed.note(num_rows)

    def count_batch(
        self, num_requests: int, experts: Indices, class_index: Indices, confidence: Numbers
    ) -> None:
        """What a batch was computed for, and what came out; whoever gave it changes it no more.

        Args:
            experts: that rows were routed to, shape (B, L, K); places left empty count for none.
            class_index: the most probable class of each row, shape (B,).
            confidence: its probability, shape (B,).
        """
        weight = 1 + len(class_index) // ROWS_PER_ENTRY
        self._batches.note((num_requests, experts, class_index, confidence), weight)

    def _add_stages(self, entries: list[Mapping[Stage, float]]) -> None:
        for stage, series in self._stages.items():
            series.observe([seconds[stage] for seconds in entries])

    def _add_positions(self, requests: list[Sequence[str]]) -> None:
        for result, number in Counts(chain.from_iterable(requests)).items():
            self._positions[result].inc(number)

    def _add_executions(self, sizes: list[int]) -> None:
        self._executions.inc(len(sizes))
        self._batch_rows.observe(sizes)

    def _add_batches(self, batches: list[tuple[int, Indices, Indices, Numbers]]) -> None:
        num_requests, *outputs = zip(*batches, strict=True)
        experts, class_index, confidence = map(np.concatenate, outputs)
        self._requests.inc(sum(num_requests))
        self._rows.inc(len(class_index))
        for layer, counters in enumerate(self._experts):
            chosen = experts[:, layer].ravel()
            _add_counts(counters, chosen[chosen != NO_EXPERT])
        _add_counts(self._classes, class_index)
        self._confidence.observe_each(self._confidences, class_index, confidence)


def _value(counter: Counter) -> float:
    return next(sample.value for family in counter.collect() for sample in family.samples)


def _add_counts(counters: Sequence[Counter], indices: Indices) -> None:
    counts = np.bincount(indices, minlength=len(counters)).tolist()
    for counter, count in zip(counters, counts, strict=True):
        if count:
            counter.inc(count)
