"""Metrics of the service, on a registry of their own. Dimension letters: E experts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from rbm_service.observability.histogram import BulkHistogram
from rbm_service.observability.journal import Journal, SettledRegistry

Stage = Literal["parse", "position_lookup", "queue", "inference", "serialize"]
STAGES: tuple[Stage, ...] = ("parse", "position_lookup", "queue", "inference", "serialize")
POSITION_RESULTS = ("cached", "neighbors", "supplied", "default", "missing")
FAILURE_REASONS = (
    *("rejected", "canceled", "backend", "validation"),
    *("unauthorized", "too_large", "deadline", "other"),
)
LOAD_OUTCOMES = ("loaded", "refused")

# fmt: off
REQUEST_BUCKETS = (.0005, .001, .002, .003, .005, .0075, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
STAGE_BUCKETS = (.000005, .00001, .00002, .00005, .0001, .0002, .0005, .001, .002, .005,
                 .01, .02, .05, .1, .25, 1, 5)
# fmt: on
LOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ROW_BUCKETS = tuple(2**power for power in range(14))  # 1..8192
CONFIDENCE_BUCKETS = tuple(tenths / 10 for tenths in range(1, 11))

NAME = ("model_name",)
MODEL = ("model_name", "model_version")
SHADOW = ("model_name", "shadow_version")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The labels of `rbm_model_info`."""

    model_name: str
    model_version: str
    bundle_id: str
    device: str
    provider: str
    onnxruntime_version: str


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one version of a model, and the time until it is computed."""

    num_rows: int
    num_requests: int
    wait_seconds: float


class Metrics:
    """Every metric of one service; what is noted in the journal shows when the registry is read."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.registry = SettledRegistry(self.journal)
        ProcessCollector(registry=self.registry)
        self._counter = partial(Counter, registry=self.registry)
        self._gauge = partial(Gauge, registry=self.registry)
        self._histogram = partial(Histogram, registry=self.registry)
        self._bulk_histogram = partial(BulkHistogram, registry=self.registry)
        self._queues: dict[str, list[Callable[[], Queue]]] = {}
        self._declare_http()
        self._declare_inference()
        self._declare_queue()
        self._declare_engine()
        self._declare_predictions()
        self._declare_model()
        self._declare_shadow()

    def _declare_http(self) -> None:
        self.http_requests = self._counter(
            "rbm_http_requests_total", "Requests answered", ("route", "method", "code")
        )
        self.http_duration = self._bulk_histogram(
            "rbm_http_request_duration_seconds", "Request to answer", ("route",), REQUEST_BUCKETS
        )
        self.http_in_progress = self._gauge(
            "rbm_http_requests_in_progress", "Requests being answered", ("route",)
        )

    def _declare_inference(self) -> None:
        self.stage_duration = self._bulk_histogram(
            "rbm_stage_duration_seconds",
            "Time a request spends in each stage",
            ("stage", *MODEL),
            STAGE_BUCKETS,
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
        self.batch_rows = self._bulk_histogram(
            "rbm_batch_rows", "Rows in one forward pass", NAME, ROW_BUCKETS
        )
        self.queue_rows = self._gauge("rbm_queue_rows", "Rows waiting", NAME)
        self.queue_requests = self._gauge("rbm_queue_requests", "Requests waiting", NAME)
        self.queue_capacity_rows = self._gauge("rbm_queue_capacity_rows", "Rows that may wait", NAME)
        self.estimated_wait = self._gauge(
            "rbm_estimated_wait_seconds", "Time until what waits now is computed", NAME
        )
        self.capacity = self._gauge(
            "rbm_capacity_rows_per_second", "Rows a second in the batches that suit the engine best", NAME
        )

    def _declare_engine(self) -> None:
        self.engine_healthy = self._gauge("rbm_engine_healthy", "0 from a failure to the recovery", NAME)
        self.engine_restarts = self._counter(
            "rbm_engine_restarts_total", "Engines rebuilt after a failure", NAME
        )

    def _declare_predictions(self) -> None:
        self.position_lookups = self._counter(
            "rbm_position_lookups_total", "Rows by where their position came from", (*NAME, "result")
        )
        self.expert_selected = self._counter(
            "rbm_expert_selected_total", "Rows routed to an expert", (*NAME, "layer", "expert")
        )
        self.prediction_class = self._counter(
            "rbm_prediction_class_total",
            "Rows by most probable class, abstained ones included",
            (*NAME, "label"),
        )
        self.confidence = self._bulk_histogram(
            "rbm_confidence",
            "Probability of the most probable class",
            (*NAME, "label"),
            CONFIDENCE_BUCKETS,
        )
        self.abstained = self._counter("rbm_abstained_total", "Rows under the caller's min_confidence", MODEL)

    def _declare_model(self) -> None:
        self._shown: dict[str, ModelInfo] = {}
        self.model_info = self._gauge(
            "rbm_model_info", "The models in service", [field.name for field in fields(ModelInfo)]
        )
        self.model_ready = self._gauge("rbm_model_ready", "1 while the model is in service, to stay", NAME)
        self.model_loads = self._counter(
            "rbm_model_loads_total",
            "Versions by what became of them: loaded and put in service, or refused and the old one kept",
            (*NAME, "outcome"),
        )
        self.model_load_duration = self._histogram(
            "rbm_model_load_duration_seconds",
            "Time from the first byte verified to the last warm-up batch",
            NAME,
            buckets=LOAD_BUCKETS,
        )

    def _declare_shadow(self) -> None:
        self.shadow_requests = self._counter(
            "rbm_shadow_requests_total",
            "Sampled requests by what the shadow made of them: scored, dropped or failed",
            (*SHADOW, "outcome"),
        )
        self.shadow_rows = self._counter(
            "rbm_shadow_rows_total",
            "Rows by whether the shadow's class is the one that was answered: agree or differ",
            (*SHADOW, "model_version", "outcome"),
        )
        self.shadow_duration = self._histogram(
            "rbm_shadow_duration_seconds",
            "Time the shadow takes for a request, off the way of its answer",
            SHADOW,
            buckets=REQUEST_BUCKETS,
        )

    def expect_model(self, name: str) -> None:
        """Show a model that is not there yet: not ready, and nothing of it loaded or refused so far."""
        self.model_ready.labels(name).set(0)
        for outcome in LOAD_OUTCOMES:  # a rate sees the first refusal only if the series was there before
            self.model_loads.labels(name, outcome)

    def queues_of(self, name: str) -> list[Callable[[], Queue]]:
        """What the gauges of a model ask when they are read: while one version replaces another, each has a
        queue."""
        if name not in self._queues:
            queues = self._queues[name] = []
            self.queue_rows.labels(name).set_function(lambda: sum(queue().num_rows for queue in queues))
            self.queue_requests.labels(name).set_function(
                lambda: sum(queue().num_requests for queue in queues)
            )
            self.estimated_wait.labels(name).set_function(
                lambda: sum(queue().wait_seconds for queue in queues)
            )
        return self._queues[name]

    def show_model(self, info: ModelInfo) -> None:
        """Let `rbm_model_info` say this and nothing else of the model."""
        former = self._shown.get(info.model_name)
        self._shown[info.model_name] = info
        self.model_info.labels(**asdict(info)).set(1)
        if former is not None and former != info:
            self.model_info.remove_by_labels(asdict(former))

    def forget_model(self, name: str) -> None:
        """Drop every series of a model that is served no more."""
        self._shown.pop(name, None)
        self._queues.pop(name, None)
        for metric in (*self._of_a_version(), *self._of_a_name()):
            metric.remove_by_labels({"model_name": name})

    def forget_version(self, name: str, version: int) -> None:
        """Drop the series of a version, or the scrape would grow with every version that was ever served."""
        for metric in (*self._of_a_version(), self.shadow_rows):
            metric.remove_by_labels({"model_name": name, "model_version": str(version)})

    def forget_shadow(self, name: str, version: int) -> None:
        """Drop the series of a shadow that another one takes the place of."""
        for metric in (self.shadow_requests, self.shadow_rows, self.shadow_duration):
            metric.remove_by_labels({"model_name": name, "shadow_version": str(version)})

    def forget_experts(self, name: str, former: Sequence[int], present: Sequence[int]) -> None:
        """Drop the experts of each layer that a new model does not have, or they would look dead for good."""
        for layer, E in enumerate(former):
            for expert in range(present[layer] if layer < len(present) else 0, E):
                self.expert_selected.remove(name, layer, expert)

    def forget_classes(self, name: str, former: Iterable[str], present: Iterable[str]) -> None:
        """Drop the classes that a new model does not have."""
        for label in set(former) - set(present):
            self.prediction_class.remove(name, label)
            self.confidence.remove_by_labels({"model_name": name, "label": label})

    def _of_a_version(self) -> Sequence[MetricWrapperBase | BulkHistogram]:
        return (
            self.stage_duration,
            self.inference_requests,
            self.inference_rows,
            self.inference_executions,
            self.abstained,
        )

    def _of_a_name(self) -> Sequence[MetricWrapperBase | BulkHistogram]:
        return (
            *(self.batch_rows, self.queue_rows, self.queue_requests, self.queue_capacity_rows),
            *(self.estimated_wait, self.capacity, self.engine_healthy, self.engine_restarts),
            *(self.position_lookups, self.expert_selected, self.prediction_class, self.confidence),
            *(self.model_info, self.model_ready, self.model_loads, self.model_load_duration),
            *(self.shadow_requests, self.shadow_rows, self.shadow_duration),
        )
