"""What every route that classifies does between its body and its answer, whatever form they have."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from operator import mul
from time import perf_counter
from typing import Final, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from rbm_service.api.dependencies import AppState
from rbm_service.errors import FailureReason, ServiceError, UnknownNodeError
from rbm_service.inference.batch import RequestOutputs, no_outputs
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.preprocessing import RequestRows, encode
from rbm_service.observability.metrics import STAGES, Metrics, RequestTrace
from rbm_service.serving.model import ServedModel
from rbm_service.web.request_context import RequestContext

# Longer bodies are read in a thread. One of 64 kB takes a millisecond, for which a thread may keep the
# interpreter to itself anyway: for shorter ones, a thread would gain the others nothing.
MAX_BYTES_ON_LOOP: Final = 64 * 1024
MAX_RECORD_BYTES_ON_LOOP: Final = 4096  # of a body with records: words take longer than numbers
TURN_SECONDS: Final = 0.0005  # that whoever asks for the interpreter waits while long work is done
MAX_VALUES_ON_LOOP: Final = 8192  # names and numbers of an answer: written out in a few milliseconds
SERVER_TIMING: Final = ", ".join(f"{name};dur=%.3f" for name in (*STAGES, "total"))

T = TypeVar("T")

# One thread, so that the event loop shares the interpreter with one piece of long work at a time.
_long_work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-long-work")


def offload(function: Callable[[], T]) -> asyncio.Future[T]:
    """Call a function that takes so long that others would wait for it in a thread."""
    return asyncio.get_running_loop().run_in_executor(_long_work, _in_turns, function)


def _in_turns(function: Callable[[], T]) -> T:
    """Call a function, and meanwhile give the interpreter to the event loop soon after it asks for it."""
    usual_seconds = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        return function()
    finally:
        sys.setswitchinterval(usual_seconds)


def count_failure(metrics: Metrics, error: BaseException) -> None:
    """Count a request that gets no predictions under its reason."""
    reason: FailureReason = "other"
    if isinstance(error, ServiceError):
        reason = error.reason
    elif isinstance(error, asyncio.CancelledError | ClientDisconnect):
        reason = "canceled"
    metrics.rbm_inference_failures_total.labels(reason).inc()


@dataclass(slots=True)
class Computed:
    """The rows of a query, what the graph said of them, and the seconds of the stages until then, in order.

    `started` is when the body was there, by `time.perf_counter`, and `ended` when the outputs were.
    """

    query: NodeQuery
    rows: RequestRows
    outputs: RequestOutputs
    seconds: tuple[float, ...]
    started: float
    ended: float


async def compute(
    context: RequestContext,
    app_state: AppState,
    model: ServedModel,
    query: NodeQuery,
    started: float,
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
    most = app_state.settings.max_request_rows
    try:
        if is_long:
            rows = await offload(partial(encode, query, model.bundle, most, model.engine.records))
        else:
            rows = encode(query, model.bundle, most, model.engine.records)
    except UnknownNodeError as error:
        model.metrics.positions["missing"].inc(error.num_unknown)
        raise
    encoded = perf_counter()
    if rows.unknown:
        model.metrics.positions["missing"].inc(len(rows.unknown))
    if rows.num_rows:
        limit = app_state.settings.request_timeout_seconds
        deadline = started + (limit if timeout_seconds is None else min(timeout_seconds, limit))
        future = model.batcher.submit(rows, explain=explain, deadline=deadline)
        context.watch(partial(model.batcher.give_up, future, ClientDisconnect))
        outputs = await future
    else:
        outputs = no_outputs(model.bundle.manifest)
    seconds = (parsed - started, encoded - parsed, outputs.queue_seconds, outputs.batch.seconds)
    return Computed(query, rows, outputs, seconds, started, perf_counter())


def finish(
    response: Response,
    context: RequestContext,
    app_state: AppState,
    model: ServedModel,
    computed: Computed,
    num_abstained: int = 0,
) -> Response:
    """Count a request whose answer is written, and tell the caller its times, in milliseconds.

    Once the answer is out, the shadow gets the request, if there is a shadow and this is one for it.
    """
    now, outputs = perf_counter(), computed.outputs
    seconds = (*computed.seconds, now - computed.ended)
    model.metrics.count_request(seconds, computed.rows.sources, num_abstained)
    if app_state.settings.otlp_endpoint is not None:
        attributes: dict[str, str | int] = {
            "rbm.model.name": model.name,
            "rbm.model.version": model.version,
            "rbm.rows": computed.rows.num_rows,
            "rbm.batch.id": outputs.batch.number,
            "rbm.batch.rows": outputs.batch.num_rows,
        }
        context.work = RequestTrace(attributes, computed.started, seconds)
    shadow = app_state.models.shadows.get(model.name)
    if shadow is not None and computed.rows.num_rows and shadow.samples(model.version):
        labels = [model.bundle.manifest.labels[index] for index in outputs.class_index]
        query = computed.query.at(computed.rows.answered) if computed.rows.unknown else computed.query
        response.background = BackgroundTask(shadow.follow, query, labels, model.version)
    timing = SERVER_TIMING % tuple(map(mul, repeat(1e3), (*seconds, now - computed.started)))
    response.raw_headers.append((b"server-timing", timing.encode()))
    return response
