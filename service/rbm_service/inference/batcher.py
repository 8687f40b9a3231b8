"""The batcher: requests wait in a bounded queue, and whatever waits when the engine is free runs together.

No timer holds a batch back. Under load, batches form while the engine is busy, and a small one also while the
loop reads: as long as each of its turns brings more rows, they come along. Without load, a request runs at
once. Only a batch that is full, and so can gain nothing by waiting, goes to the engine's thread while that
still computes the one before it: the engine then never waits for the event loop.

A batch that fails fails alone. An engine that hangs, or fails so often that it is asked for outputs it is
known to give and has none, is down: the batcher refuses everything until another takes its place.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from rbm_service.errors import (
    BackendError,
    DeadlineExceededError,
    DrainingError,
    OverloadedError,
    UnhealthyError,
)
from rbm_service.inference.batch import ComputedBatch, InputGatherer, Job, RequestOutputs, Run, compute
from rbm_service.inference.engine_thread import EngineThread, T, Then, Work
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.inference.queue import LONG_ROWS, RequestQueue
from rbm_service.inference.throughput import UNMEASURED, ThroughputEstimator
from rbm_service.observability.metrics import Queue
from rbm_service.observability.model_metrics import ModelMetrics

MAX_RETRY_AFTER_SECONDS: Final = 60.0
FAILURES_UNTIL_PROBE: Final = 3  # in a row; they may be the engine's fault, or that of what it was given
MAX_IN_FLIGHT: Final = 2  # batches handed to the engine's thread
SMALL_ROWS: Final = 32  # of what a smaller batch costs, most is the same for one row

log = structlog.get_logger(__name__)


class Batcher:
    """Merges requests into batches and runs one batch at a time; belongs to one event loop.

    Args:
        gather: finds what the bundle holds of known nodes.
        runs_inline: whether small batches may run on the event loop; not where a run may wait for a device.
        table: the seconds of batches by their rows, when the engine was warm.
        timeout_seconds: the longest time for one batch.
        probe: raises unless the engine computes what it is known to compute; called when several batches in
            a row have failed.
    """

    def __init__(
        self,
        run: Run,
        gather: InputGatherer,
        metrics: ModelMetrics,
        *,
        max_batch_rows: int,
        max_queued_rows: int,
        runs_inline: bool = True,
        table: Mapping[int, float] = UNMEASURED,
        timeout_seconds: float = math.inf,
        probe: Callable[[], None] | None = None,
    ) -> None:
        self._metrics = metrics
        self._max_batch_rows = max_batch_rows
        self._max_queued_rows = max_queued_rows
        self._runs_inline = runs_inline
        self._probe = probe
        self._throughput = ThroughputEstimator(table)
        self._compute = partial(compute, run, gather)
        self._num_batches = 0
        self._queue = RequestQueue()
        self._num_failures = 0  # in a row
        self._begins_soon = False
        self._alone_from = math.inf  # who comes later has been alone, and expects nobody
        self._refusal: type[DrainingError | UnhealthyError] | None = None  # what everyone gets from now on
        self._engine_thread = EngineThread(timeout_seconds, partial(self._go_down, "a run does not end"))
        metrics.queues.append(self.queue)

    @property
    def is_down(self) -> bool:
        """Whether the engine failed for good."""
        return self._refusal is UnhealthyError

    def queue(self) -> Queue:
        """What waits, and how fast it is computed."""
        num_rows = self._queue.num_rows + self._queue.prefetched_rows
        num_requests = len(self._queue.jobs) + len(self._queue.prefetched)
        seconds, rows_per_second = self._throughput.seconds_for(num_rows), self._throughput.rows_per_second
        return Queue(num_rows, num_requests, seconds, self._max_queued_rows, rows_per_second)

    def submit(
        self, rows: RequestRows, *, explain: bool = False, deadline: float = math.inf
    ) -> asyncio.Future[RequestOutputs]:
        """Let rows wait for their turn; await what is returned for their outputs.

        Args:
            deadline: when the caller stops waiting, by `time.perf_counter`. Rows that still wait then are
                never computed; those that are being computed keep the rest of their batch company.

        Raises:
            OverloadedError: at once: the queue has no room for them.
            DeadlineExceededError: at once or later: the deadline passed first, or is sure to.
            BackendError: later: the batch they were in failed.
            UnhealthyError: at once or later: the engine is down, or was before it came to them.
            DrainingError: at once or later: the batcher is closed, or was before it came to them.
        """
        now, loop = time.perf_counter(), asyncio.get_running_loop()
        waiting_rows = self.check_room(rows.num_rows)
        # Never where nothing waits: an estimate that was wrong once would then never be put right.
        if waiting_rows and now + self._throughput.seconds_for(waiting_rows + rows.num_rows) > deadline:
            raise DeadlineExceededError
        future: asyncio.Future[RequestOutputs] = loop.create_future()
        self._queue.push(Job(rows, explain, now, deadline, future))
        self._schedule()
        return future

    def give_up(self, future: asyncio.Future[RequestOutputs], error: type[Exception]) -> None:
        """Let whoever waits have this error instead; rows that are not being computed make room."""
        if not future.done():
            future.set_exception(error)
            self._queue.notice_leaving()

    def close(self) -> None:
        """Take nothing more and refuse what has no answer yet; a batch that runs ends by itself, unheard."""
        self._refusal = self._refusal or DrainingError  # an engine that is down stays so
        self._queue.refuse_all(DrainingError(), DrainingError())
        self._engine_thread.close()
        with suppress(ValueError):  # closed before
            self._metrics.queues.remove(self.queue)

    def check_room(self, num_rows: int = 1) -> int:
        """Refuse where `submit` would, before any work goes into the rows.

        Returns:
            How many rows wait already.

        Raises:
            OverloadedError, UnhealthyError, DrainingError: as `submit` does.
        """
        if self._refusal is not None:
            raise self._refusal
        waiting_rows = self._queue.num_rows + self._queue.prefetched_rows
        if waiting_rows + num_rows > self._max_queued_rows:
            seconds = self._throughput.seconds_for(waiting_rows)
            raise OverloadedError(min(seconds, MAX_RETRY_AFTER_SECONDS))
        return waiting_rows

    def _schedule(self) -> None:
        """Let the next batch begin: a full one now, and a request that is alone; any other when the loop has
        come to everyone else."""
        jobs, in_flight = self._queue.jobs, self._queue.in_flight
        # A long request would gain little by being ready, and short ones could not pass it any more.
        most = 1 if jobs and jobs[0].rows.num_rows >= LONG_ROWS else MAX_IN_FLIGHT
        if self._queue.num_rows >= self._max_batch_rows and len(in_flight) < most:
            self._begin()
        elif not self._begins_soon and not in_flight:
            if jobs and jobs[-1].submitted > self._alone_from:
                self._begin()
            else:
                self._begins_soon = True
                asyncio.get_running_loop().call_soon(self._begin_unless_growing, 0)

    def _begin_unless_growing(self, seen_rows: int) -> None:
        """Let a small batch wait for whatever the loop reads next, if it has grown since the turn before."""
        if seen_rows < self._queue.num_rows < SMALL_ROWS and not self._queue.in_flight:
            asyncio.get_running_loop().call_soon(self._begin_unless_growing, self._queue.num_rows)
            return
        self._begins_soon = False
        if not self._queue.in_flight:
            self._begin()

    def _begin(self) -> None:
        """Compute what waits: a small request that is alone here, anything else in the thread."""
        batch = self._queue.take(self._max_batch_rows, time.perf_counter())
        if not batch:
            return
        work = partial(self._compute, batch)
        is_alone = len(batch) == 1 and not (self._queue.jobs or self._queue.in_flight)
        if self._runs_inline and is_alone and batch[0].is_small:
            self._settle(batch, work)
        else:
            self._start(batch, work, partial(self._on_computed, batch))

    def _start(self, batch: Sequence[Job], work: Work[T], then: Then[T]) -> None:
        try:
            self._engine_thread.run(work, partial(self._finish, then))
        except RuntimeError as error:  # the system gives no thread
            self._fail(batch, error)
            if self._queue.jobs:
                self._schedule()
            return
        self._queue.begin(batch)

    def _finish(self, then: Then[T], outcome: Future[T]) -> None:
        self._queue.end()
        then(outcome)
        self._schedule()

    def _on_computed(self, batch: Sequence[Job], outcome: Future[ComputedBatch]) -> None:
        if outcome.exception() is None:
            computed = outcome.result()
            num_rows = sum([job.rows.num_rows for job in computed.jobs])
            self._throughput.observe(num_rows, computed.seconds)
        self._settle(batch, outcome.result)

    def _settle(self, batch: Sequence[Job], computed_batch: Callable[[], ComputedBatch]) -> None:
        """Give each request its outputs."""
        try:
            computed = computed_batch()
            self._num_batches = computed.number = self._num_batches + 1
            # In as much time again as one request took, others who wait for the engine would have come.
            self._alone_from = computed.started + 2 * computed.seconds if len(batch) == 1 else math.inf
            computed.answer(self._metrics)
            self._num_failures = 0
        except Exception as error:  # noqa: BLE001 - the unit of work is this batch
            self._fail(batch, error)

    def _fail(self, batch: Sequence[Job], error: Exception) -> None:
        for job in batch:
            job.refuse(BackendError())
        num_rows = sum(job.rows.num_rows for job in batch)
        log.error("batch failed", num_requests=len(batch), num_rows=num_rows, exc_info=error)
        self._num_failures += 1
        if self._num_failures == FAILURES_UNTIL_PROBE and self._probe and not self._refusal:
            probe = self._probe
            self._start((), lambda _: probe(), self._on_probed)

    def _on_probed(self, outcome: Future[None]) -> None:
        self._num_failures = 0
        if error := outcome.exception():
            self._go_down(f"the golden rows fail as well: {error}")

    def _go_down(self, reason: str) -> None:
        """Refuse everything from now on; what the engine still computes is not heard."""
        self._refusal = UnhealthyError
        num_requests = sum(map(len, (*self._queue.in_flight, self._queue.jobs)))
        self._queue.refuse_all(BackendError(), UnhealthyError())
        log.error("engine down", reason=reason, num_requests=num_requests)
