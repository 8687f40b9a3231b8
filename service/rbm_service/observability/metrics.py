"""Every metric of the service, on a registry of its own."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from time import monotonic
from typing import Final, Literal, NamedTuple, get_args

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rbm_service.errors import FailureReason
from rbm_service.observability.families import Family, Histogram, Number
from rbm_service.observability.logging import num_dropped

Stage = Literal["parse", "position_lookup", "queue", "inference", "serialize"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

NAME: Final = "model_name"
VERSION: Final = "model_version"
MODEL: Final = (NAME, VERSION)
SHADOW: Final = (NAME, "shadow_version")

MILLISECONDS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
MICROSECONDS = (5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2.5e5, 1e6, 5e6)
REQUEST_SECONDS = partial(Histogram, [milliseconds / 1e3 for milliseconds in MILLISECONDS])
STAGE_SECONDS = partial(Histogram, [microseconds / 1e6 for microseconds in MICROSECONDS])
LOAD_SECONDS = partial(Histogram, (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300))
ROWS = partial(Histogram, [2**power for power in range(14)])  # 1..8192
PROBABILITIES = partial(Histogram, [tenths / 10 for tenths in range(1, 11)])

counter = partial(Family, CounterMetricFamily, Number)
gauge = partial(Family, GaugeMetricFamily, Number)
histogram = partial(Family[Histogram], HistogramMetricFamily)


class RequestTrace(NamedTuple):
    """What a trace tells of a request that was computed: attributes of its span, the beginning of the first
    stage by `time.perf_counter`, and the seconds of each of `STAGES`."""

    attributes: Mapping[str, str | int]
    started: float
    stage_seconds: Sequence[float]


class Queue(NamedTuple):
    """What waits for one version of a model, the time until it is computed, how many rows may wait, and how
    many a second the engine computes."""

    num_rows: int
    num_requests: int
    wait_seconds: float
    capacity_rows: int
    rows_per_second: float


class Metrics(Collector):
    """The metrics of one service; what belongs to one model is counted through its `ModelMetrics`.

    The class declares every metric under its own name; each service has copies, to count in.

    Attributes:
        started: when that began, by `time.monotonic`.
    """

    rbm_http_requests_total = counter("Requests answered", "route", "method", "code")
    rbm_http_request_duration_seconds = histogram(REQUEST_SECONDS, "From request to answer", "route")
    rbm_http_requests_in_progress = gauge("Requests being answered", "route")
    rbm_http_buffered_body_bytes = gauge("Bytes of request bodies that are held")
    rbm_stage_duration_seconds = histogram(
        STAGE_SECONDS, "Time a request spends in each stage", "stage", *MODEL
    )
    rbm_inference_requests_total = counter("Requests computed", *MODEL)
    rbm_inference_rows_total = counter("Rows computed", *MODEL)
    rbm_inference_executions_total = counter("Forward passes", *MODEL)
    rbm_inference_failures_total = counter("Requests that got no predictions", "reason")
    rbm_batch_rows = histogram(ROWS, "Rows in one forward pass", NAME)
    rbm_queue_rows = gauge("Rows waiting", NAME)
    rbm_queue_requests = gauge("Requests waiting", NAME)
    rbm_queue_capacity_rows = gauge("Rows that may wait", NAME)
    rbm_estimated_wait_seconds = gauge("Time until what waits now is computed", NAME)
    rbm_capacity_rows_per_second = gauge("Rows a second in the batches that suit the engine best", NAME)
    rbm_engine_healthy = gauge("0 from a failure of the engine until it is rebuilt, else 1", NAME)
    rbm_engine_restarts_total = counter("Engines rebuilt after a failure", NAME)
    rbm_position_lookups_total = counter("Rows by the origin of their position", NAME, "result")
    rbm_expert_selected_total = counter("Rows routed to an expert", NAME, "layer", "expert")
    rbm_prediction_class_total = counter(
        "Rows by most probable class, abstained ones included", NAME, "label"
    )
    rbm_confidence = histogram(PROBABILITIES, "Probability of the most probable class", NAME, "label")
    rbm_abstained_total = counter("Rows under the caller's min_confidence", *MODEL)
    rbm_model_info = gauge(
        "1 for each model in service", *MODEL, "bundle_id", "device", "provider", "onnxruntime_version"
    )
    rbm_model_ready = gauge("1 while the model is in service and will stay there", NAME)
    rbm_model_loads_total = counter("Versions that were put in service (loaded) or refused", NAME, "outcome")
    rbm_model_load_duration_seconds = histogram(
        LOAD_SECONDS, "Time from the first byte verified to the last warm-up batch", NAME
    )
    rbm_shadow_requests_total = counter(
        "Sampled requests that a shadow scored, dropped or failed to answer", *SHADOW, "outcome"
    )
    rbm_shadow_rows_total = counter(
        "Rows for which the classes of shadow and answer agree or differ", *SHADOW, VERSION, "outcome"
    )
    rbm_shadow_duration_seconds = histogram(
        REQUEST_SECONDS, "Time the shadow takes for a request, after its answer is out", *SHADOW
    )
    rbm_log_lines_dropped_total = counter("Log lines of this process that could not be written in time")

    def __init__(self) -> None:
        self._families = {name: copy(it) for name, it in vars(Metrics).items() if isinstance(it, Family)}
        vars(self).update(self._families)
        self._queues = defaultdict[str, list[Callable[[], Queue]]](list)  # by model
        self.rbm_log_lines_dropped_total[()] = num_dropped
        for reason in get_args(FailureReason):  # a rate sees the first only if the series was there before
            self.rbm_inference_failures_total.labels(reason)
        self.started = monotonic()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Return every metric as it is now, for a scrape."""
        return map(Family.collect, self._families.values())

    describe = collect  # from which a registry has the names

    def queues_of(self, name: str) -> list[Callable[[], Queue]]:
        """Return the queues that the gauges of a model ask, the newest last: while one version replaces
        another, each has a queue. What waits adds up; the newest says how much may, and how fast it goes."""
        queues = self._queues[name]
        # Slices are copies: queues come and go while a scrape in another thread asks them.
        for family, value in (
            (self.rbm_queue_rows, lambda: sum(it().num_rows for it in queues[:])),
            (self.rbm_queue_requests, lambda: sum(it().num_requests for it in queues[:])),
            (self.rbm_estimated_wait_seconds, lambda: sum(it().wait_seconds for it in queues[:])),
            (self.rbm_queue_capacity_rows, lambda: sum(it().capacity_rows for it in queues[-1:])),
            (self.rbm_capacity_rows_per_second, lambda: sum(it().rows_per_second for it in queues[-1:])),
        ):
            family.labels(name).value = value
        return queues

    def show_model(self, name: str, *labels: object) -> None:
        """Let `rbm_model_info` say this and nothing else of the model."""
        info = self.rbm_model_info.labels(name, *labels)
        info.value = 1
        self.rbm_model_info.remove([info], model_name=name)

    def forget(self, **labels: object) -> None:
        """Drop every series that has all of these labels, or the scrape would grow with every version that
        was ever served. For a whole model, its name is enough."""
        for family in self._families.values():
            family.remove(**labels)
