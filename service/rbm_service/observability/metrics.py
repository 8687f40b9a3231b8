"""Every metric of the service, on a registry of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector

from rbm_service.observability.families import Family, Kind, Number
from rbm_service.observability.histogram import Histogram
from rbm_service.observability.log_writer import num_dropped

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

NAME: Final = "model_name"
MODEL: Final = (NAME, "model_version")
SHADOW: Final = (NAME, "shadow_version")


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
    """What waits for one version of a model, the time until it is computed, how many rows may wait, and how
    many a second the engine computes."""

    num_rows: int
    num_requests: int
    wait_seconds: float
    capacity_rows: int
    rows_per_second: float


ReadQueue = Callable[[], Queue]


def no_queue() -> Queue:
    """Read the queue of a model that takes nothing."""
    return Queue(0, 0, 0.0, 0, 0.0)


class Metrics(Collector):
    """The metrics of one service. What belongs to one model is counted through its `ModelMetrics`."""

    def __init__(self) -> None:
        self._families: list[Family[Any]] = []
        self._queues: dict[str, list[ReadQueue]] = {}
        self._declare_requests()
        self._declare_models()
        self._declare_shadows()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now, for a scrape."""
        for family in self._families:
            yield family.collect()

    describe = collect  # from which a registry has the names

    # fmt: off
    def _declare_requests(self) -> None:
        counter, gauge = partial(self._number, "counter"), partial(self._number, "gauge")
        self.http_requests = counter(
            "rbm_http_requests_total", "Requests answered", "route", "method", "code")
        self.http_duration = self._histogram(
            "rbm_http_request_duration_seconds", "From request to answer", REQUEST_BUCKETS, "route")
        self.http_in_progress = gauge("rbm_http_requests_in_progress", "Requests being answered", "route")
        self.http_buffered_bytes = gauge(
            "rbm_http_buffered_body_bytes", "Bytes of request bodies that are held")
        self.stage_duration = self._histogram(
            "rbm_stage_duration_seconds", "Time a request spends in each stage",
            STAGE_BUCKETS, "stage", *MODEL)
        self.inference_requests = counter("rbm_inference_requests_total", "Requests computed", *MODEL)
        self.inference_rows = counter("rbm_inference_rows_total", "Rows computed", *MODEL)
        self.inference_executions = counter("rbm_inference_executions_total", "Forward passes", *MODEL)
        self.inference_failures = counter(
            "rbm_inference_failures_total", "Requests that got no predictions", "reason")
        self.batch_rows = self._histogram("rbm_batch_rows", "Rows in one forward pass", ROW_BUCKETS, NAME)
        self.queue_rows = gauge("rbm_queue_rows", "Rows waiting", NAME)
        self.queue_requests = gauge("rbm_queue_requests", "Requests waiting", NAME)
        self.queue_capacity_rows = gauge("rbm_queue_capacity_rows", "Rows that may wait", NAME)
        self.estimated_wait = gauge(
            "rbm_estimated_wait_seconds", "Time until what waits now is computed", NAME)
        self.capacity = gauge(
            "rbm_capacity_rows_per_second", "Rows a second in the batches that suit the engine best", NAME)
        for reason in FAILURE_REASONS:  # a rate sees the first failure only if the series was there before
            self.inference_failures.labels(reason)

    def _declare_models(self) -> None:
        counter, gauge = partial(self._number, "counter"), partial(self._number, "gauge")
        self.engine_healthy = gauge(
            "rbm_engine_healthy", "0 from a failure of the engine until it is rebuilt, else 1", NAME)
        self.engine_restarts = counter("rbm_engine_restarts_total", "Engines rebuilt after a failure", NAME)
        self.position_lookups = counter(
            "rbm_position_lookups_total", "Rows by the origin of their position", NAME, "result")
        self.expert_selected = counter(
            "rbm_expert_selected_total", "Rows routed to an expert", NAME, "layer", "expert")
        self.prediction_class = counter(
            "rbm_prediction_class_total", "Rows by most probable class, abstained ones included",
            NAME, "label")
        self.confidence = self._histogram(
            "rbm_confidence", "Probability of the most probable class", CONFIDENCE_BUCKETS, NAME, "label")
        self.abstained = counter("rbm_abstained_total", "Rows under the caller's min_confidence", *MODEL)
        self.model_info = gauge(
            "rbm_model_info", "1 for each model in service", *(field.name for field in fields(ModelInfo)))
        self.model_ready = gauge(
            "rbm_model_ready", "1 while the model is in service and will stay there", NAME)
        self.model_loads = counter(
            "rbm_model_loads_total", "Versions that were put in service (loaded) or refused",
            NAME, "outcome")
        self.model_load_duration = self._histogram(
            "rbm_model_load_duration_seconds", "Time from the first byte verified to the last warm-up batch",
            LOAD_BUCKETS, NAME)

    def _declare_shadows(self) -> None:
        counter = partial(self._number, "counter")
        self.shadow_requests = counter(
            "rbm_shadow_requests_total", "Sampled requests that a shadow scored, dropped or failed to answer",
            *SHADOW, "outcome")
        self.shadow_rows = counter(
            "rbm_shadow_rows_total", "Rows for which the classes of shadow and answer agree or differ",
            *SHADOW, "model_version", "outcome")
        self.shadow_duration = self._histogram(
            "rbm_shadow_duration_seconds", "Time the shadow takes for a request, after its answer is out",
            REQUEST_BUCKETS, *SHADOW)
        counter(
            "rbm_log_lines_dropped_total", "Log lines of this process that could not be written in time",
        ).labels().set(lambda: num_dropped.value)
    # fmt: on

    def _number(self, kind: Kind, name: str, documentation: str, *labels: str) -> Family[Number]:
        family = Family(kind, name, documentation, labels, Number)
        self._families.append(family)
        return family

    def _histogram(
        self, name: str, documentation: str, edges: Sequence[float], *labels: str
    ) -> Family[Histogram]:
        family = Family("histogram", name, documentation, labels, partial(Histogram, edges))
        self._families.append(family)
        return family

    def expect_model(self, name: str) -> None:
        """Show a model that is not there yet: not ready, and nothing of it loaded or refused so far."""
        self.model_ready.labels(name).set(0)
        for outcome in LOAD_OUTCOMES:  # a rate sees the first refusal only if the series was there before
            self.model_loads.labels(name, outcome)

    def queues_of(self, name: str) -> list[ReadQueue]:
        """Return the queues that the gauges of a model ask, the newest last: while one version replaces
        another, each has a queue."""
        if name not in self._queues:
            queues = self._queues[name] = []
            self.queue_rows.labels(name).set(lambda: sum(queue().num_rows for queue in [*queues]))
            self.queue_requests.labels(name).set(lambda: sum(queue().num_requests for queue in [*queues]))
            self.estimated_wait.labels(name).set(lambda: sum(queue().wait_seconds for queue in [*queues]))
            self.queue_capacity_rows.labels(name).set(lambda: [no_queue, *queues][-1]().capacity_rows)
            self.capacity.labels(name).set(lambda: [no_queue, *queues][-1]().rows_per_second)
        return self._queues[name]

    def show_model(self, info: ModelInfo) -> None:
        """Let `rbm_model_info` say this and nothing else of the model."""
        shown = self.model_info.labels(*astuple(info))
        shown.set(1)
        self.model_info.remove([shown], model_name=info.model_name)

    def forget(self, **labels: object) -> None:
        """Drop every series that has all of these labels, or the scrape would grow with every version that
        was ever served. For a whole model, its name is enough."""
        if labels.keys() == {NAME}:
            self._queues.pop(str(labels[NAME]), None)
        for family in self._families:
            family.remove(**labels)
