"""Traces: one span a request, which continues the caller's, and one below it for each stage of the work.

Spans are made when a request is over, from times that were taken anyway. They are sent in the background:
what a collector cannot take in time is dropped, and no request waits for it. This needs the extra `tracing`,
so nothing imports the module unless traces are asked for.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rbm_service.observability.timings import RequestTrace

TRACES_PATH: Final = "/v1/traces"
EXPORT_TIMEOUT_SECONDS: Final = 3.0  # of one batch of spans, every attempt included
CLOSE_SECONDS: Final = 4.0
CONTEXT_HEADERS: Final = (b"traceparent", b"tracestate")


class Tracer:
    """Makes the spans of requests and sends them to a collector.

    Args:
        endpoint: base address of a collector that takes OTLP over HTTP.
    """

    def __init__(self, endpoint: str, version: str) -> None:
        resource = Resource.create({SERVICE_NAME: "rbm-service", SERVICE_VERSION: version})
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH, timeout=EXPORT_TIMEOUT_SECONDS)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rbm_service", version)
        self._propagator = TraceContextTextMapPropagator()
        self._zero_ns = time.time_ns() - time.perf_counter_ns()

    def record(
        self,
        scope: Mapping[str, Any],
        work: RequestTrace | None,
        request_id: str,
        method: str,
        route: str,
        status: int,
        started: float,
        seconds: float,
    ) -> str:
        """The spans of a request that is over; returns the id of their trace.

        Args:
            scope: of the request, as ASGI has it.
            work: what was done for it, if it was computed.
            started: by `time.perf_counter`.
        """
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "rbm.request_id": request_id,
        }
        if work is not None:
            attributes |= _described(work)
        name, context = f"{method} {route}", self._context_of(scope["headers"])
        span = self._tracer.start_span(
            name, context, SpanKind.SERVER, attributes, start_time=self._time_ns(started)
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if work is not None:
            self._record_stages(work, set_span_in_context(span))
        span.end(self._time_ns(started + seconds))
        return format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Send what is left, and give it up when that takes too long."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _record_stages(self, work: RequestTrace, parent: Context) -> None:
        started = work.started
        for stage, seconds in work.stage_seconds.items():
            span = self._tracer.start_span(stage, parent, start_time=self._time_ns(started))
            started += seconds
            span.end(self._time_ns(started))

    def _context_of(self, headers: list[tuple[bytes, bytes]]) -> Context:
        """Where the caller's trace goes on; an empty one begins a new trace."""
        carrier = {
            name.decode(): value.decode("latin-1") for name, value in headers if name in CONTEXT_HEADERS
        }
        return self._propagator.extract(carrier, Context())

    def _time_ns(self, moment: float) -> int:
        """A moment of `time.perf_counter` as one of the wall clock."""
        return self._zero_ns + int(1e9 * moment)


def _described(work: RequestTrace) -> dict[str, str | int]:
    return {
        "rbm.model.name": work.model_name,
        "rbm.model.version": work.model_version,
        "rbm.rows": work.num_rows,
        "rbm.batch.id": work.batch_number,
        "rbm.batch.rows": work.batch_rows,
    }
