"""The metrics of one version of a model, and of one shadow.

Dimension letters: B rows, C classes, L layers, E experts, K experts per row.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_service.observability.families import observe_each
from rbm_service.observability.metrics import STAGES, Metrics, Queue

Indices = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]

FEW_ROWS: Final = 16  # up to here, plain Python counts a batch faster than numpy
POSITION_RESULTS: Final = ("cached", "neighbors", "supplied", "default", "missing")
REQUEST_OUTCOMES: Final = ("scored", "dropped", "failed")  # of a shadow
ROW_OUTCOMES: Final = ("agree", "differ")


class ModelMetrics:
    """What one version of a model counts; nobody sees it before `show`.

    Executions are counted in whatever thread computes, everything else on the event loop.

    Attributes:
        load_seconds: from the first byte verified to the last warm-up batch, where it was loaded.
        requests, rows, executions: how many were computed for this version since it was put in service.
        stages: the times that its requests spent in each stage, in their order.
        queues: what the gauges of the model ask, the newest last; those of other versions too, once shown.
        positions: rows by the origin of their position, `missing` where an id is unknown and has none.
    """

    def __init__(
        self, metrics: Metrics, name: str, version: str, labels: Sequence[str], num_experts: Sequence[int]
    ) -> None:
        self.load_seconds: float | None = None
        self.queues: list[Callable[[], Queue]] = []
        self._metrics = metrics
        self._name = name
        self._version = version
        self._labels = labels
        self._num_experts = num_experts
        self._bind(Metrics())  # until `show`, it counts where nobody reads

    def show(self) -> None:
        """Let a scrape see this version, which is in service from now on.

        It goes on with what versions before it have counted under the same labels. Experts and classes that
        it does not have are dropped, or they would look dead for good.
        """
        metrics, name = self._metrics, self._name
        self._bind(metrics)
        shared = metrics.queues_of(name)
        if self.queues is not shared:
            shared.extend(self.queues)
            self.queues = shared
        metrics.rbm_expert_selected_total.remove([*chain(*self._experts)], model_name=name)
        metrics.rbm_prediction_class_total.remove(self._classes, model_name=name)
        metrics.rbm_confidence.remove(self._confidences, model_name=name)
        if self.load_seconds is not None:
            metrics.rbm_model_load_duration_seconds.labels(name).observe(self.load_seconds)

    def _bind(self, metrics: Metrics) -> None:
        """Find every series once: that costs more than counting in it."""
        name, both = self._name, (self._name, self._version)
        self.rows = metrics.rbm_inference_rows_total.labels(*both)
        self.executions = metrics.rbm_inference_executions_total.labels(*both)
        self.stages = {stage: metrics.rbm_stage_duration_seconds.labels(stage, *both) for stage in STAGES}
        self._stage_edges = [histogram.edges for histogram in self.stages.values()]
        self.engine_restarts = metrics.rbm_engine_restarts_total.labels(name)
        self.requests = metrics.rbm_inference_requests_total.labels(*both)
        self._abstained = metrics.rbm_abstained_total.labels(*both)
        self._batch_rows = metrics.rbm_batch_rows.labels(name)
        positions, experts = metrics.rbm_position_lookups_total, metrics.rbm_expert_selected_total
        self.positions = {result: positions.labels(name, result) for result in POSITION_RESULTS}
        self._classes = [metrics.rbm_prediction_class_total.labels(name, label) for label in self._labels]
        self._confidences = [metrics.rbm_confidence.labels(name, label) for label in self._labels]
        self._experts = [
            [experts.labels(name, layer, expert) for expert in range(E)]
            for layer, E in enumerate(self._num_experts)
        ]

    def count_execution(self, num_rows: int) -> None:
        """Count one run of the graph."""
        self.executions.value += 1
        histogram = self._batch_rows
        histogram.counts[bisect_left(histogram.edges, num_rows)] += 1
        histogram.total += num_rows

    def count_request(
        self, stage_seconds: Sequence[float], sources: Sequence[str], num_abstained: int = 0
    ) -> None:
        """Count a request that has its answer.

        Args:
            stage_seconds: the time that it spent in each of `STAGES`.
            sources: where the position of each row came from, shape (B,).
            num_abstained: rows whose confidence is below what the caller asked for.
        """
        places = map(bisect_left, self._stage_edges, stage_seconds)
        for histogram, place, seconds in zip(self.stages.values(), places, stage_seconds, strict=True):
            histogram.counts[place] += 1
            histogram.total += seconds
        positions = self.positions
        for source in sources:
            positions[source].value += 1
        if num_abstained:
            self._abstained.value += num_abstained

    def count_batch(
        self, num_requests: int, experts: Indices, class_index: Sequence[int], confidence: Sequence[float]
    ) -> None:
        """Count what a batch was computed for, and what came out.

        Args:
            experts: that rows were routed to, shape (B, L, K); places left empty count for none.
            class_index: the most probable class of each row, shape (B,).
            confidence: its probability, shape (B,).
        """
        num_rows = len(class_index)
        self.requests.value += num_requests
        self.rows.value += num_rows
        if num_rows > FEW_ROWS:
            self._count_many(experts, class_index, confidence)
            return
        for row in experts.tolist():
            for numbers, chosen in zip(self._experts, row, strict=True):
                for expert in chosen:
                    if expert != NO_EXPERT:
                        numbers[expert].value += 1
        for place, probability in zip(class_index, confidence, strict=True):
            self._classes[place].value += 1
            histogram = self._confidences[place]
            histogram.counts[bisect_left(histogram.edges, probability)] += 1
            histogram.total += probability

    def _count_many(self, experts: Indices, class_index: Sequence[int], confidence: Sequence[float]) -> None:
        classes = np.array(class_index)
        chosen = [*experts.swapaxes(0, 1), classes]  # (B, K) of each layer, and (B,)
        for numbers, indices in zip([*self._experts, self._classes], chosen, strict=True):
            counts = np.bincount(indices[indices != NO_EXPERT], minlength=len(numbers))
            for number, count in zip(numbers, counts.tolist(), strict=True):
                number.value += count
        observe_each(self._confidences, classes, np.array(confidence))


class ShadowMetrics:
    """What one shadow counts, in whatever thread, until it is forgotten: what comes late is not shown.

    A lock, since a request that is still being scored would bring the removed series back.
    """

    def __init__(self, metrics: Metrics, name: str, version: int) -> None:
        self._metrics = metrics
        self._both = (name, version)
        self._lock = threading.Lock()

    def count(self, outcome: str) -> None:
        """Count a sampled request: `scored`, `dropped` or `failed`."""
        with self._lock:
            self._metrics.rbm_shadow_requests_total.labels(*self._both, outcome).inc()

    def count_scored(self, seconds: float, version: int, num_agreeing: int, num_differing: int) -> None:
        """Count the rows of a scored request that this version has answered, and the time it took."""
        self.count("scored")
        with self._lock:
            self._metrics.rbm_shadow_duration_seconds.labels(*self._both).observe(seconds)
            rows = self._metrics.rbm_shadow_rows_total
            rows.labels(*self._both, version, "agree").inc(num_agreeing)
            rows.labels(*self._both, version, "differ").inc(num_differing)

    def counts(self, version: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the sampled requests, and the rows that this version has answered, each by outcome."""
        with self._lock:
            requests, rows = self._metrics.rbm_shadow_requests_total, self._metrics.rbm_shadow_rows_total
            return (
                {each: requests.count_of(*self._both, each) for each in REQUEST_OUTCOMES},
                {each: rows.count_of(*self._both, version, each) for each in ROW_OUTCOMES},
            )

    def forget(self) -> None:
        """Drop every series of this shadow."""
        with self._lock:
            self._metrics.forget(model_name=self._both[0], shadow_version=self._both[1])
            self._metrics = Metrics()  # what comes late is counted where nobody reads
