"""The metrics of one version of a model, and of one shadow.

Dimension letters: B rows, C classes, L layers, E experts, K experts per row.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.manifest import NO_EXPERT
from rbm_service.observability.families import Number
from rbm_service.observability.histogram import Histogram, Numbers, observe_each
from rbm_service.observability.metrics import POSITION_RESULTS, STAGES, Metrics, ReadQueue, Stage

FEW_ROWS: Final = 16  # up to here, plain Python counts a batch faster than numpy

Indices = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """What a version of a model has done since it was put in service, and the times of each stage."""

    num_rows: int
    num_executions: int
    stages: Mapping[Stage, Histogram]


class ModelMetrics:
    """What one version of a model counts; nobody sees it before `show`.

    Executions are counted in whatever thread computes, everything else on the event loop.

    Attributes:
        load_seconds: from the first byte verified to the last warm-up batch, where it was loaded.
    """

    def __init__(
        self, metrics: Metrics, name: str, version: str, labels: Sequence[str], num_experts: Sequence[int]
    ) -> None:
        self.load_seconds: float | None = None
        self._metrics = metrics
        self._name = name
        self._version = version
        self._labels = labels
        self._num_experts = num_experts
        self._queues: list[ReadQueue] = []
        self._bind(Metrics())  # until `show`, it counts where nobody reads

    def show(self) -> None:
        """Let a scrape see this version, which is in service from now on.

        It goes on with what versions before it have counted under the same labels.
        """
        self._bind(self._metrics)
        self._forget_others(self._metrics)
        shared = self._metrics.queues_of(self._name)
        if self._queues is not shared:
            shared += self._queues
            self._queues = shared
        if self.load_seconds is not None:
            self._metrics.model_load_duration.labels(self._name).observe(self.load_seconds)

    def _bind(self, metrics: Metrics) -> None:
        """Find every series once: that costs more than counting in it."""
        name, both = self._name, (self._name, self._version)
        self._stages = [(stage, metrics.stage_duration.labels(stage, *both)) for stage in STAGES]
        self._requests = metrics.inference_requests.labels(*both)
        self._rows = metrics.inference_rows.labels(*both)
        self._executions = metrics.inference_executions.labels(*both)
        self._abstained = metrics.abstained.labels(*both)
        self._batch_rows = metrics.batch_rows.labels(name)
        self.engine_restarts = metrics.engine_restarts.labels(name)
        self._positions = {
            result: metrics.position_lookups.labels(name, result) for result in POSITION_RESULTS
        }
        self._classes = [metrics.prediction_class.labels(name, label) for label in self._labels]
        self._confidences = [metrics.confidence.labels(name, label) for label in self._labels]
        self._experts = [
            [metrics.expert_selected.labels(name, layer, expert) for expert in range(E)]
            for layer, E in enumerate(self._num_experts)
        ]

    def _forget_others(self, metrics: Metrics) -> None:
        """Drop experts and classes that this model does not have, or they would look dead for good."""
        own = [number for layer in self._experts for number in layer]
        metrics.expert_selected.remove(own, model_name=self._name)
        metrics.prediction_class.remove(self._classes, model_name=self._name)
        metrics.confidence.remove(self._confidences, model_name=self._name)

    def open_queue(self, queue: ReadQueue) -> None:
        """Have the gauges of the model ask a queue, from when this version is shown."""
        self._queues.append(queue)

    def close_queue(self, queue: ReadQueue) -> None:
        """Ask a queue no more."""
        if queue in self._queues:
            self._queues.remove(queue)

    def count_execution(self, num_rows: int) -> None:
        """Count one run of the graph."""
        self._executions.value += 1
        histogram = self._batch_rows  # observed in place, as below: a call would cost as much again
        histogram.counts[bisect_left(histogram.edges, num_rows)] += 1
        histogram.total += num_rows

    def count_request(
        self, stage_seconds: Mapping[Stage, float], sources: Sequence[str], num_abstained: int = 0
    ) -> None:
        """Count a request that has its answer.

        Args:
            stage_seconds: the time that it spent in each stage.
            sources: where the position of each row came from, shape (B,).
            num_abstained: rows whose confidence is below what the caller asked for.
        """
        for stage, histogram in self._stages:
            seconds = stage_seconds[stage]
            histogram.counts[bisect_left(histogram.edges, seconds)] += 1
            histogram.total += seconds
        positions = self._positions
        for source in sources:
            positions[source].value += 1
        self._abstained.value += num_abstained

    def count_missing(self, num_rows: int) -> None:
        """Count the rows of a request whose ids are unknown, and which have no position."""
        self._positions["missing"].inc(num_rows)

    def count_batch(
        self, num_requests: int, experts: Indices, class_index: Indices, confidence: Numbers
    ) -> None:
        """Count what a batch was computed for, and what came out.

        Args:
            experts: that rows were routed to, shape (B, L, K); places left empty count for none.
            class_index: the most probable class of each row, shape (B,).
            confidence: its probability, shape (B,).
        """
        num_rows = len(class_index)
        self._requests.value += num_requests
        self._rows.value += num_rows
        if num_rows <= FEW_ROWS:
            self._count_few(experts.tolist(), class_index.tolist(), confidence.tolist())
            return
        for layer, numbers in enumerate(self._experts):
            chosen = experts[:, layer].ravel()
            _add_counts(numbers, chosen[chosen != NO_EXPERT])
        _add_counts(self._classes, class_index)
        observe_each(self._confidences, class_index, confidence)

    def _count_few(
        self, experts: list[list[list[int]]], class_index: list[int], confidence: list[float]
    ) -> None:
        for row in experts:
            for numbers, chosen in zip(self._experts, row, strict=True):
                for expert in chosen:
                    if expert != NO_EXPERT:
                        numbers[expert].value += 1
        for place, probability in zip(class_index, confidence, strict=True):
            self._classes[place].value += 1
            histogram = self._confidences[place]
            histogram.counts[bisect_left(histogram.edges, probability)] += 1
            histogram.total += probability

    def totals(self) -> ModelTotals:
        """Return what was counted for this version."""
        return ModelTotals(self._rows.value, self._executions.value, dict(self._stages))


def _add_counts(numbers: Sequence[Number], indices: Indices) -> None:
    for place, count in enumerate(np.bincount(indices, minlength=len(numbers)).tolist()):
        if count:
            numbers[place].value += count


class ShadowMetrics:
    """What one shadow counts, in whatever thread, until it is forgotten: what comes late is not shown.

    A lock, since what is counted between the removal of the series and the end of a request that is still
    being scored would bring them back.
    """

    def __init__(self, metrics: Metrics, name: str, version: int) -> None:
        self._metrics = metrics
        self._both = (name, version)
        self._lock = threading.Lock()
        self._is_forgotten = False

    def count(self, outcome: str) -> None:
        """Count a sampled request: `scored`, `dropped` or `failed`."""
        with self._lock:
            if not self._is_forgotten:
                self._metrics.shadow_requests.labels(*self._both, outcome).inc()

    def count_scored(self, seconds: float, version: int, num_agreeing: int, num_differing: int) -> None:
        """Count the rows of a scored request that this version has answered, and the time it took."""
        self.count("scored")
        with self._lock:
            if self._is_forgotten:
                return
            self._metrics.shadow_duration.labels(*self._both).observe(seconds)
            rows = self._metrics.shadow_rows
            rows.labels(*self._both, version, "agree").inc(num_agreeing)
            rows.labels(*self._both, version, "differ").inc(num_differing)

    def forget(self) -> None:
        """Drop every series of this shadow."""
        with self._lock:
            self._is_forgotten = True
            self._metrics.forget(model_name=self._both[0], shadow_version=self._both[1])
