"""Traces: one span a request, which continues the caller's, and one below it for each stage of the work.

Spans are made when a request is over, from times that were taken anyway. They are sent in the background:
what a collector cannot take in time is dropped, and no request waits for it. This needs the extra `tracing`,
so nothing imports the module unless traces are asked for.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rbm_service.observability.metrics import STAGES, RequestTrace


class Tracer:
    """Makes the spans of requests and sends them to a collector.

    Args:
        endpoint: base address of a collector that takes OTLP over HTTP.
    """

    def __init__(self, endpoint: str, version: str) -> None:
        resource = Resource.create({SERVICE_NAME: "rbm-service", SERVICE_VERSION: version})
        # The time limit is that of one batch of spans, every attempt included.
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=3.0)
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
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "rbm.request_id": request_id,
            **(work.attributes if work else {}),
        }
        # The caller's trace goes on; where there is none, or a malformed one, a new trace begins.
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        context = self._propagator.extract(carrier, Context())
        span = self._tracer.start_span(
            f"{method} {route}", context, SpanKind.SERVER, attributes, start_time=self._time_ns(started)
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if work is not None:
            parent, stage_started = set_span_in_context(span), work.started
            for stage, stage_seconds in zip(STAGES, work.stage_seconds, strict=True):
                child = self._tracer.start_span(stage, parent, start_time=self._time_ns(stage_started))
                stage_started += stage_seconds
                child.end(self._time_ns(stage_started))
        span.end(self._time_ns(started + seconds))
        return format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Send what is left, and give it up when that takes too long."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(timeout=4.0)

    def _time_ns(self, moment: float) -> int:
        """A moment of `time.perf_counter` as one of the wall clock."""
        return self._zero_ns + int(1e9 * moment)
