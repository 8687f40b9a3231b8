"""What every route that classifies does between its body and its answer, whatever form they have."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from rbm_service.api.dependencies import AppState
from rbm_service.errors import FailureReason, ServiceError, UnknownNodeError
from rbm_service.inference.batch import RequestOutputs
from rbm_service.inference.preprocessing import NodeQuery, RequestRows, encode
from rbm_service.observability.metrics import STAGES, Metrics, Stage
from rbm_service.observability.timings import RequestTrace
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Answered
from rbm_service.web.request_context import RequestContext

# Longer bodies are read in a thread. One of 64 kB takes a millisecond, for which a thread may keep the
# interpreter to itself anyway: for shorter ones, a thread would gain the others nothing.
MAX_BYTES_ON_LOOP: Final = 64 * 1024
SERVER_TIMING: Final = ", ".join(f"{name};dur=%.3f" for name in (*STAGES, "total"))

T = TypeVar("T")

# One thread, so that the event loop shares the interpreter with one piece of long work at a time.
_long_work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-long-work")


async def offload(is_long: bool, function: Callable[[], T]) -> T:
    """Call a function here, or in a thread where it takes so long that others would wait for it."""
    if not is_long:
        return function()
    return await asyncio.get_running_loop().run_in_executor(_long_work, function)


@dataclass(slots=True)
class Computed:
    """The rows of a request, what the graph said of them, and the seconds of the stages until then.

    `started` is when the body was there, by `time.perf_counter`, and `ended` when the outputs were.
    """

    rows: RequestRows
    outputs: RequestOutputs
    seconds: dict[Stage, float]
    started: float
    ended: float


def count_failure(metrics: Metrics, error: BaseException) -> None:
    """Count a request that gets no predictions under its reason."""
    metrics.inference_failures.labels(_reason(error)).inc()


async def compute(
    context: RequestContext,
    app_state: AppState,
    query: NodeQuery,
    model: ServedModel,
    started: float,
    *,
    is_long: bool,
    explain: bool,
    timeout_seconds: float | None,
) -> Computed:
    """Find the rows of a query and run them, in a batch with whoever else waits.

    Args:
        started: when the body was there, by `time.perf_counter`; since then it was read.
        is_long: whether the rows take so long to find that nobody should be kept waiting.
        timeout_seconds: the caller's time limit; can only shorten that of the service.

    Raises:
        ServiceError: anything that `encode` or the batcher refuses.
        ClientDisconnect: nobody waits for the answer any more.
    """
    parsed = perf_counter()
    model.batcher.check_room()
    max_rows = app_state.settings.max_request_rows
    try:
        rows = await offload(is_long, partial(encode, query, model.bundle, max_rows))
    except UnknownNodeError as error:
        model.metrics.count_missing(error.num_unknown)
        raise
    encoded = perf_counter()
    limit = app_state.settings.request_timeout_seconds
    deadline = started + (limit if timeout_seconds is None else min(timeout_seconds, limit))
    future = model.batcher.submit(rows, explain=explain, deadline=deadline)
    context.watch(partial(model.batcher.give_up, future, ClientDisconnect))
    outputs = await future
    seconds: dict[Stage, float] = {
        "parse": parsed - started,
        "position_lookup": encoded - parsed,
        "queue": outputs.queue_seconds,
        "inference": outputs.inference_seconds,
    }
    return Computed(rows, outputs, seconds, started, perf_counter())


def finish(
    context: RequestContext,
    app_state: AppState,
    model: ServedModel,
    computed: Computed,
    num_abstained: int = 0,
) -> str:
    """Count a request whose answer is written; returns the value of `Server-Timing`: milliseconds."""
    now, seconds, outputs = perf_counter(), computed.seconds, computed.outputs
    seconds["serialize"] = now - computed.ended
    model.metrics.count_request(seconds, computed.rows.sources, num_abstained)
    if app_state.settings.otlp_endpoint is not None:
        context.work = RequestTrace(
            model_name=model.name,
            model_version=model.version,
            num_rows=computed.rows.num_rows,
            batch_number=outputs.batch_number,
            batch_rows=outputs.batch_rows,
            started=computed.started,
            stage_seconds=seconds,
        )
    parse, lookup, queue, inference, serialize = seconds.values()
    return SERVER_TIMING % (
        *(1e3 * parse, 1e3 * lookup, 1e3 * queue, 1e3 * inference, 1e3 * serialize),
        1e3 * (now - computed.started),
    )


def comparison(
    app_state: AppState, query: NodeQuery, outputs: RequestOutputs, model: ServedModel
) -> BackgroundTask | None:
    """What is left to do once the answer is out: let the shadow have the request, if it is one for it."""
    shadow = app_state.models.shadow_of(model.name)
    if shadow is None or not shadow.samples(model.version):
        return None
    labels = [model.bundle.manifest.labels[index] for index in outputs.class_index]
    return BackgroundTask(shadow.follow, Answered(query, labels, model.version))


def _reason(error: BaseException) -> FailureReason:
    if isinstance(error, ServiceError):
        return error.reason
    return "canceled" if isinstance(error, asyncio.CancelledError | ClientDisconnect) else "other"
