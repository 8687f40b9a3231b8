"""What every route that classifies does between its body and its answer, whatever form they have."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from rbm_service.api.dependencies import AppState
from rbm_service.errors import FailureReason, ServiceError, UnknownNodeError
from rbm_service.inference.batch import Answer
from rbm_service.inference.preprocessing import EncodedRows, NodeQuery, encode
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.timings import RequestTrace, Stopwatch
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Answered
from rbm_service.web.request_context import RequestContext

# Longer bodies are read in a thread. One of 64 kB takes a few milliseconds at most, and for 5 ms a thread may
# keep the interpreter to itself anyway: for shorter ones, a thread would gain the others nothing.
MAX_BYTES_ON_LOOP: Final = 64 * 1024


@dataclass(slots=True)
class Computed:
    """The rows of a request as the graph took them, and what it said of them."""

    rows: EncodedRows
    answer: Answer


def count_failure(metrics: Metrics, error: BaseException) -> None:
    """Count a request that gets no predictions under its reason."""
    metrics.inference_failures.labels(_reason(error)).inc()


async def compute(
    context: RequestContext,
    app_state: AppState,
    query: NodeQuery,
    model: ServedModel,
    watch: Stopwatch,
    *,
    is_long: bool,
    explain: bool,
    timeout_seconds: float | None,
) -> Computed:
    """Look up what a query leaves out and run its rows, in a batch with whoever else waits.

    Args:
        is_long: whether it takes so much time to look up that nobody should be kept waiting.
        timeout_seconds: the caller's time limit; can only shorten that of the service.

    Raises:
        ServiceError: anything that `encode` or the batcher refuses.
        ClientDisconnect: nobody waits for the answer any more.
    """
    model.batcher.check_room()
    max_rows = app_state.settings.max_request_rows
    if is_long:
        rows = await asyncio.to_thread(_encode, query, model, max_rows)
    else:
        rows = _encode(query, model, max_rows)
    watch.lap("position_lookup")
    limit = app_state.settings.request_timeout_seconds
    deadline = watch.started + min(timeout_seconds or limit, limit)
    answering = model.batcher.submit(rows.model_inputs, rows.num_rows, explain=explain, deadline=deadline)
    context.watch(partial(model.batcher.give_up, answering, ClientDisconnect))
    answer = await answering
    watch.take({"queue": answer.queue_seconds, "inference": answer.inference_seconds})
    if app_state.settings.otlp_endpoint is not None:
        context.work = trace_of(model, answer, rows.num_rows, watch)
    return Computed(rows, answer)


def comparison(
    app_state: AppState, query: NodeQuery, answer: Answer, model: ServedModel
) -> BackgroundTask | None:
    """What is left to do once the answer is out: let the shadow have the request, if it is one for it."""
    shadow = app_state.models.shadow_of(model.name)
    if shadow is None or not shadow.samples(model.version):
        return None
    labels = [model.bundle.manifest.labels[index] for index in answer.class_index]
    return BackgroundTask(shadow.follow, Answered(query, labels, model.version))


def _encode(query: NodeQuery, model: ServedModel, max_rows: int) -> EncodedRows:
    try:
        rows = encode(query, model.bundle, max_rows)
    except UnknownNodeError as error:
        model.metrics.count_missing(error.num_unknown)
        raise
    model.metrics.count_positions(rows.sources)
    return rows


def _reason(error: BaseException) -> FailureReason:
    if isinstance(error, ServiceError):
        return error.reason
    return "canceled" if isinstance(error, asyncio.CancelledError | ClientDisconnect) else "other"


def trace_of(model: ServedModel, answer: Answer, num_rows: int, watch: Stopwatch) -> RequestTrace:
    """What was done for a request that has its answer."""
    return RequestTrace(
        model_name=model.name,
        model_version=model.version,
        num_rows=num_rows,
        batch_number=answer.batch_number,
        batch_rows=answer.batch_rows,
        started=watch.started,
        stage_seconds=watch.seconds,
    )
