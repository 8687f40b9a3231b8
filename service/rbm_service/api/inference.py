"""What every route that classifies does between its body and its answer, whatever form they have."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from rbm_service.api.parts import Parts
from rbm_service.api.timing import Stopwatch
from rbm_service.batches import Answer
from rbm_service.codec import EncodedRows, Query, encode
from rbm_service.errors import FailureReason, ServiceError, UnknownNodeError
from rbm_service.metrics import Metrics
from rbm_service.shadow import Answered
from rbm_service.slot import ServedModel


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
    query: Query,
    model: ServedModel,
    parts: Parts,
    watch: Stopwatch,
    *,
    explain: bool,
    timeout_seconds: float | None,
) -> Computed:
    """Look up what a query leaves out and run its rows, in a batch with whoever else waits.

    Args:
        timeout_seconds: the caller's time limit; can only shorten that of the service.

    Raises:
        ServiceError: anything that `encode` or the batcher refuses.
    """
    rows = _encode(query, model, parts)
    watch.lap("position_lookup")
    limit = parts.settings.request_timeout_seconds
    deadline = watch.started + min(timeout_seconds or limit, limit)
    answer = await model.batcher.submit(rows.feeds, rows.num_rows, explain=explain, deadline=deadline)
    watch.take({"queue": answer.queue_seconds, "inference": answer.inference_seconds})
    return Computed(rows, answer)


def comparison(query: Query, answer: Answer, model: ServedModel, parts: Parts) -> BackgroundTask | None:
    """What is left to do once the answer is out: let the shadow have the request, if it is one for it."""
    shadow = parts.models.shadow_of(model.name)
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
