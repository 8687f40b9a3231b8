"""What every route that classifies does between its body and its answer, whatever form they have."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from rbm_service.api.parts import Parts
from rbm_service.api.timing import Stopwatch, work_of
from rbm_service.batches import Answer
from rbm_service.codec import EncodedRows, Query, encode
from rbm_service.errors import FailureReason, ServiceError, UnknownNodeError
from rbm_service.exchange import Exchange
from rbm_service.metrics import Metrics
from rbm_service.shadow import Answered
from rbm_service.slot import ServedModel

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
    exchange: Exchange,
    parts: Parts,
    query: Query,
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
    max_rows = parts.settings.max_request_rows
    if is_long:
        rows = await asyncio.to_thread(_encode, query, model, max_rows)
    else:
        rows = _encode(query, model, max_rows)
    watch.lap("position_lookup")
    limit = parts.settings.request_timeout_seconds
    deadline = watch.started + min(timeout_seconds or limit, limit)
    answering = model.batcher.submit(rows.feeds, rows.num_rows, explain=explain, deadline=deadline)
    exchange.watch(partial(model.batcher.give_up, answering, ClientDisconnect))
    answer = await answering
    watch.take({"queue": answer.queue_seconds, "inference": answer.inference_seconds})
    if parts.settings.otlp_endpoint is not None:
        exchange.work = work_of(model, answer, rows.num_rows, watch)
    return Computed(rows, answer)


def comparison(parts: Parts, query: Query, answer: Answer, model: ServedModel) -> BackgroundTask | None:
    """What is left to do once the answer is out: let the shadow have the request, if it is one for it."""
    shadow = parts.models.shadow_of(model.name)
    if shadow is None or not shadow.samples(model.version):
        return None
    labels = [model.bundle.manifest.labels[index] for index in answer.class_index]
    return BackgroundTask(shadow.follow, Answered(query, labels, model.version))


def _encode(query: Query, model: ServedModel, max_rows: int) -> EncodedRows:
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
