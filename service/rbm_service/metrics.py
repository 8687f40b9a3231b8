"""Metrics of the service, on a registry of their own, and those of one model, bound once.

Finding a label child costs more than incrementing it, so a model binds its children when it is loaded.
Dimension letters: B rows, C classes, L layers, E experts, K experts per row.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from rbm_bundle.manifest import NO_EXPERT

Stage = Literal["parse", "position_lookup", "queue", "inference", "serialize"]
STAGES: tuple[Stage, ...] = ("parse", "position_lookup", "queue", "inference", "serialize")
POSITION_RESULTS = ("cached", "neighbors", "supplied", "default", "missing")
FAILURE_REASONS = ("rejected", "canceled", "backend", "validation", "too_large", "deadline", "other")
LOAD_OUTCOMES = ("loaded", "refused")

# fmt: off
REQUEST_BUCKETS = (.0005, .001, .002, .003, .005, .0075, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
STAGE_BUCKETS = (.000005, .00001, .00002, .00005, .0001, .0002, .0005, .001, .002, .005,
                 .01, .02, .05, .1, .25, 1, 5)
# fmt: on
LOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ROW_BUCKETS = tuple(2**power for power in range(14))  # 1..8192
CONFIDENCE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))

MODEL = ("model_name", "model_version")


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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The labels of `rbm_model_info`."""

    model_name: str
    model_version: str
    bundle_id: str
    device: str
    provider: str
    onnxruntime_version: str


class Metrics:
    """Every metric of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counter = partial(Counter, registry=self.registry)
        self._gauge = partial(Gauge, registry=self.registry)
        self._histogram = partial(Histogram, registry=self.registry)
        self._declare_http()
        self._declare_inference()
        self._declare_queue()
        self._declare_predictions()
        self._declare_model()

    def _declare_http(self) -> None:
        self.http_requests = self._counter(
            "rbm_http_requests_total", "Requests answered", ("route", "method", "code")
        )
        self.http_duration = self._histogram(
            "rbm_http_request_duration_seconds", "Request to answer", ("route",), buckets=REQUEST_BUCKETS
        )
        self.http_in_progress = self._gauge(
            "rbm_http_requests_in_progress", "Requests being answered", ("route",)
        )

    def _declare_inference(self) -> None:
        self.stage_duration = self._histogram(
            "rbm_stage_duration_seconds",
            "Time a request spends in each stage",
            ("stage", *MODEL),
            buckets=STAGE_BUCKETS,
        )
        self.inference_requests = self._counter("rbm_inference_requests_total", "Requests computed", MODEL)
        self.inference_rows = self._counter("rbm_inference_rows_total", "Rows computed", MODEL)
        self.inference_executions = self._counter("rbm_inference_executions_total", "Forward passes", MODEL)
        self.inference_failures = self._counter(
            "rbm_inference_failures_total", "Requests that got no predictions", ("reason",)
        )
        for reason in FAILURE_REASONS:  # a rate sees the first failure only if the series was there before
            self.inference_failures.labels(reason)

    def _declare_queue(self) -> None:
        name = ("model_name",)
        self.batch_rows = self._histogram(
            "rbm_batch_rows", "Rows in one forward pass", name, buckets=ROW_BUCKETS
        )
        self.queue_rows = self._gauge("rbm_queue_rows", "Rows waiting", name)
        self.queue_requests = self._gauge("rbm_queue_requests", "Requests waiting", name)
        self.queue_capacity_rows = self._gauge("rbm_queue_capacity_rows", "Rows that may wait", name)

    def _declare_predictions(self) -> None:
        self.position_lookups = self._counter(
            "rbm_position_lookups_total", "Rows by where their position came from", ("result",)
        )
        self._positions = {result: self.position_lookups.labels(result) for result in POSITION_RESULTS}
        self.expert_selected = self._counter(
            "rbm_expert_selected_total", "Rows routed to an expert", ("layer", "expert")
        )
        self.prediction_class = self._counter(
            "rbm_prediction_class_total", "Rows by most probable class, abstained ones included", ("label",)
        )
        self.confidence = self._histogram(
            "rbm_confidence", "Probability of the most probable class", ("label",), buckets=CONFIDENCE_BUCKETS
        )
        self.abstained = self._counter("rbm_abstained_total", "Rows under the caller's min_confidence", MODEL)

    def _declare_model(self) -> None:
        self._shown: ModelInfo | None = None
        self.model_info = self._gauge(
            "rbm_model_info", "The model in service", [field.name for field in fields(ModelInfo)]
        )
        self.model_ready = self._gauge("rbm_model_ready", "1 while /readyz says so")
        self.model_loads = self._counter(
            "rbm_model_loads_total",
            "Promotions by what became of them: loaded, or refused and the old model kept",
            ("outcome",),
        )
        for outcome in LOAD_OUTCOMES:
            self.model_loads.labels(outcome)
        self.model_load_duration = self._histogram(
            "rbm_model_load_duration_seconds",
            "Time from the first byte verified to the last warm-up batch",
            buckets=LOAD_BUCKETS,
        )

    def show_model(self, info: ModelInfo) -> None:
        """Let `rbm_model_info` say this and nothing else."""
        former, self._shown = self._shown, info
        self.model_info.labels(**asdict(info)).set(1)
        if former is not None and former != info:
            self.model_info.remove_by_labels(asdict(former))

    def forget_version(self, name: str, version: int) -> None:
        """Drop the series of a version, or the scrape would grow with every version that was ever served."""
        for metric in (
            self.stage_duration,
            self.inference_requests,
            self.inference_rows,
            self.inference_executions,
            self.abstained,
        ):
            metric.remove_by_labels({"model_name": name, "model_version": str(version)})

    def forget_experts(self, former: Sequence[int], present: Sequence[int]) -> None:
        """Drop the experts of each layer that a new model does not have, or they would look dead for good."""
        for layer, E in enumerate(former):
            for expert in range(present[layer] if layer < len(present) else 0, E):
                self.expert_selected.remove(layer, expert)

    def forget_classes(self, former: Iterable[str], present: Iterable[str]) -> None:
        """Drop the classes that a new model does not have."""
        for label in set(former) - set(present):
            self.prediction_class.remove(label)
            self.confidence.remove(label)

    def bind_routes(self, routes: Iterable[str]) -> dict[str, "RouteMetrics"]:
        """The metrics of each route."""
        return {route: RouteMetrics(self, route) for route in routes}

    def count_positions(self, sources: Sequence[str]) -> None:
        """Where the position of each row of a request came from."""
        for source in set(sources):
            self._positions[source].inc(sources.count(source))


class RouteMetrics:
    """The children of one route's metrics."""

    def __init__(self, metrics: Metrics, route: str) -> None:
        self.in_progress = metrics.http_in_progress.labels(route)
        self._duration = metrics.http_duration.labels(route)
        self._requests = functools.cache(partial(metrics.http_requests.labels, route))

    def count(self, method: str, status: int, seconds: float) -> None:
        """One request answered."""
        self._requests(method, status).inc()
        self._duration.observe(seconds)


class ModelMetrics:
    """The children of one model's metrics."""

    def __init__(
        self, metrics: Metrics, name: str, version: str, labels: Sequence[str], num_experts: Sequence[int]
    ) -> None:
        both = (name, version)
        self.stages = {stage: metrics.stage_duration.labels(stage, *both) for stage in STAGES}
        self.requests = metrics.inference_requests.labels(*both)
        self.rows = metrics.inference_rows.labels(*both)
        self.executions = metrics.inference_executions.labels(*both)
        self.batch_rows = metrics.batch_rows.labels(name)
        self.queue_rows = metrics.queue_rows.labels(name)
        self.queue_requests = metrics.queue_requests.labels(name)
        self.queue_capacity_rows = metrics.queue_capacity_rows.labels(name)
        self.abstained = metrics.abstained.labels(*both)
        self.classes = [metrics.prediction_class.labels(label) for label in labels]
        self.confidence = [metrics.confidence.labels(label) for label in labels]
        self.experts = [
            [metrics.expert_selected.labels(layer, expert) for expert in range(E)]
            for layer, E in enumerate(num_experts)
        ]

    def observe_stages(self, seconds: Mapping[Stage, float]) -> None:
        """The time one request spent in each stage."""
        for stage, value in seconds.items():
            self.stages[stage].observe(value)

    def totals(self) -> ModelTotals:
        """What the metrics of this version have come to."""
        stages = {stage: _stage_total(histogram) for stage, histogram in self.stages.items()}
        return ModelTotals(int(_value(self.rows)), int(_value(self.executions)), stages)

    def count_execution(self, num_rows: int) -> None:
        """One forward pass."""
        self.executions.inc()
        self.batch_rows.observe(num_rows)

    def count_experts(self, experts: npt.NDArray[Any]) -> None:
        """The experts that rows were routed to, shape (B, L, K); places left empty count for none."""
        for layer, counters in enumerate(self.experts):
            chosen = experts[:, layer].ravel()
            _add_counts(counters, chosen[chosen != NO_EXPERT])

    def count_predictions(self, class_index: npt.NDArray[Any], confidence: npt.NDArray[Any]) -> None:
        """The most probable class of each row, shape (B,), and its probability, shape (B,)."""
        _add_counts(self.classes, class_index)
        for index, value in zip(class_index.tolist(), confidence.tolist(), strict=True):
            self.confidence[index].observe(value)


def _value(counter: Counter) -> float:
    return next(sample.value for family in counter.collect() for sample in family.samples)


def _stage_total(histogram: Histogram) -> StageTotal:
    samples = {sample.name: sample.value for family in histogram.collect() for sample in family.samples}
    name = "rbm_stage_duration_seconds"
    return StageTotal(int(samples[f"{name}_count"]), samples[f"{name}_sum"])


def _add_counts(counters: Sequence[Counter], indices: npt.NDArray[Any]) -> None:
    counts = np.bincount(indices, minlength=len(counters)).tolist()
    for counter, count in zip(counters, counts, strict=True):
        if count:
            counter.inc(count)
