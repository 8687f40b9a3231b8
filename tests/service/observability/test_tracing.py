"""Traces, as a collector over HTTP receives them."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.observability.metrics import STAGES
from rbm_service.settings import TRACING_MODULE, Settings
from tests.classifying import lines_of
from tests.model_inputs import brought
from tests.servers import find_free_port

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
CONTINUED = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
BODY = {"node_ids": [100, 105, 110]}


class Collector:
    """Takes OTLP over HTTP and remembers it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.append(self.path)
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Span]:
        scopes = [
            scope
            for request in self.requests
            for sent in request.resource_spans
            for scope in sent.scope_spans
        ]
        return [span for scope in scopes for span in scope.spans]


@pytest.fixture
def collector():
    collector = Collector()
    serving = threading.Thread(target=collector.server.serve_forever)
    serving.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    serving.join()


@contextmanager
def traced(models_dir, endpoint) -> Iterator[TestClient]:
    """A service that traces; its spans have been sent when the block is over."""
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, otlp_endpoint=endpoint)
    with TestClient(create_app(settings)) as client:
        yield client


def attributes_of(span):
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def server_span(collector):
    (span,) = [span for span in collector.spans() if span.kind == Span.SPAN_KIND_SERVER]
    return span


def test_a_request_is_one_span_with_one_below_it_for_each_stage(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client:
        answer = client.post("/classify", json=BODY, headers={"X-Request-ID": "seven"})
    server = server_span(collector)
    assert server.name == "POST /classify"
    assert not server.parent_span_id
    assert attributes_of(server) == {
        "http.request.method": "POST",
        "http.route": "/classify",
        "http.response.status_code": 200,
        "rbm.request_id": "seven",
        "rbm.model.name": "tiny",
        "rbm.model.version": 1,
        "rbm.rows": 3,
        "rbm.batch.id": 1,
        "rbm.batch.rows": 3,
    }
    stages = [span for span in collector.spans() if span.kind == Span.SPAN_KIND_INTERNAL]
    assert [span.name for span in stages] == list(STAGES)
    assert {span.parent_span_id for span in stages} == {server.span_id}
    assert {span.trace_id for span in stages} == {server.trace_id}
    assert server.start_time_unix_nano <= stages[0].start_time_unix_nano
    assert stages[-1].end_time_unix_nano <= server.end_time_unix_nano
    told = dict(part.strip().split(";dur=") for part in answer.headers["Server-Timing"].split(","))
    for span in stages:
        milliseconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
        assert milliseconds == pytest.approx(float(told[span.name]), abs=0.002)


def test_spans_say_who_sends_them_and_go_where_otlp_wants_them(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client:
        client.get("/livez")
    assert set(collector.paths) == {"/v1/traces"}
    (resource,) = [sent.resource for request in collector.requests for sent in request.resource_spans]
    assert attributes_of(resource)["service.name"] == "rbm-service"
    assert attributes_of(resource)["service.version"]


def test_the_trace_of_a_caller_goes_on_and_the_access_line_names_it(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client, lines_of(client) as lines:
        client.post("/classify", json=BODY, headers=CONTINUED)
    server = server_span(collector)
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["trace_id"] == TRACE_ID


def test_a_caller_who_does_not_sample_gets_no_span_and_keeps_his_trace(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client, lines_of(client) as lines:
        client.post("/classify", json=BODY, headers={"traceparent": CONTINUED["traceparent"][:-1] + "0"})
    assert collector.spans() == []
    assert [line["trace_id"] for line in lines if line["event"] == "request"] == [TRACE_ID]


@pytest.mark.parametrize("traceparent", ["", "00-0-0-01", "ä" * 10, f"00-{'0' * 32}-{PARENT_ID}-01"])
def test_a_malformed_parent_begins_a_new_trace(models_dir, collector, traceparent):
    with traced(models_dir, collector.endpoint) as client:
        answer = client.post("/classify", json=BODY, headers={"traceparent": traceparent.encode("latin-1")})
    assert answer.status_code == 200
    assert not server_span(collector).parent_span_id


def test_a_refused_request_and_an_unknown_path_have_their_status_and_nothing_made_up(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client:
        client.post("/classify", json={"node_ids": [1]})
        client.get("/nowhere/17")
    refused, unknown = sorted(collector.spans(), key=lambda span: span.start_time_unix_nano)
    assert (refused.name, attributes_of(refused)["http.response.status_code"]) == ("POST /classify", 404)
    assert (unknown.name, attributes_of(unknown)["http.response.status_code"]) == ("GET unmatched", 404)
    assert {span.status.code for span in (refused, unknown)} == {Status.STATUS_CODE_UNSET}
    assert "nowhere" not in str(unknown)


def test_a_failure_of_the_service_marks_its_span(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client:
        client.app.app_state.models.begin_drain()
        assert client.get("/readyz").status_code == 503
    assert server_span(collector).status.code == Status.STATUS_CODE_ERROR


def test_requests_that_share_a_batch_name_it_alike(models_dir, collector):
    with traced(models_dir, collector.endpoint) as client:
        model = client.app.app_state.models.current()
        batcher, model_inputs = model.batcher, brought(model.bundle.golden().take(range(2)).inputs)

        async def together():
            return await asyncio.gather(batcher.submit(model_inputs), batcher.submit(model_inputs))

        first, second = client.portal.call(together)
        later = client.portal.call(batcher.submit, model_inputs)
    assert first.batch is second.batch
    assert [(each.number, each.num_rows) for each in (first.batch, later.batch)] == [(1, 4), (2, 2)]


def test_a_collector_that_is_not_there_disturbs_no_request_and_no_end(models_dir):
    with traced(models_dir, f"http://127.0.0.1:{find_free_port()}") as client:
        for _ in range(20):
            assert client.post("/classify", json=BODY).status_code == 200
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("rbm-engine")]


def test_without_an_address_nothing_is_traced_and_nothing_of_it_is_imported(models_dir, collector):
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4)
    with TestClient(create_app(settings)) as client, lines_of(client) as lines:
        client.post("/classify", json=BODY, headers=CONTINUED)
    assert collector.requests == []
    assert all("trace_id" not in line for line in lines)


def test_an_address_without_the_extra_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, TRACING_MODULE, None)
    with pytest.raises(ValueError, match="OpenTelemetry is not installed: install the extra `tracing`"):
        Settings(otlp_endpoint="http://127.0.0.1:4318")
