"""What every route that classifies does between its body and its answer, whatever form they have."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from fastapi import Request
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from rbm_service.api.parts import Parts, parts_of
from rbm_service.api.timing import Stopwatch, work_of
from rbm_service.api.waiting import answer_or_gone
from rbm_service.batches import Answer
from rbm_service.codec import EncodedRows, Query, encode
from rbm_service.errors import FailureReason, ServiceError, UnknownNodeError
from rbm_service.metrics import Metrics
from rbm_service.shadow import Answered
from rbm_service.slot import ServedModel

# Longer bodies are read in a thread. One of 64 kB takes a few milliseconds at most, and for 5 ms a thread may
# keep the interpreter to itself anyway: for shorter ones, a thread would gain the others nothing.
MAX_BYTES_ON_LOOP: Final = 64 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Computed:
    """The rows of a request as the graph took them, and what it said of them."""

    rows: EncodedRows
    answer: Answer


@contextmanager
def counted_failures(metrics: Metrics) -> Iterator[None]:
    """Count a request that gets no predictions under its reason."""
    try:
        yield
    except BaseException as error:
        metrics.inference_failures.labels(_reason(error)).inc()
        raise


async def compute(
    request: Request,
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
    parts = parts_of(request)
    rows = await run(partial(_encode, query, model, parts), is_long)
    watch.lap("position_lookup")
    limit = parts.settings.request_timeout_seconds
    deadline = watch.started + min(timeout_seconds or limit, limit)
    submitted = model.batcher.submit(rows.feeds, rows.num_rows, explain=explain, deadline=deadline)
    answer = await answer_or_gone(request, submitted)
    watch.take({"queue": answer.queue_seconds, "inference": answer.inference_seconds})
    request.scope["state"]["work"] = work_of(model, answer, rows.num_rows, watch)
    return Computed(rows, answer)


def comparison(request: Request, query: Query, answer: Answer, model: ServedModel) -> BackgroundTask | None:
    """What is left to do once the answer is out: let the shadow have the request, if it is one for it."""
    shadow = parts_of(request).models.shadow_of(model.name)
    if shadow is None or not shadow.samples(model.version):
        return None
    labels = [model.bundle.manifest.labels[index] for index in answer.outputs["class_index"].tolist()]
    return BackgroundTask(shadow.follow, Answered(query, labels, model.version))


def _encode(query: Query, model: ServedModel, parts: Parts) -> EncodedRows:
    try:
        rows = encode(query, model.bundle, parts.settings.max_request_rows)
    except UnknownNodeError as error:
        model.metrics.positions["missing"].inc(error.num_unknown)
        raise
    model.metrics.count_positions(rows.sources)
    return rows


def _reason(error: BaseException) -> FailureReason:
    if isinstance(error, ServiceError):
        return error.reason
    return "canceled" if isinstance(error, asyncio.CancelledError | ClientDisconnect) else "other"


async def run(work: Callable[[], T], is_long: bool) -> T:
    """Do it now, or where it keeps nobody waiting."""
    return await asyncio.to_thread(work) if is_long else work()
