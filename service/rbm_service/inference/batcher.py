"""The batcher: requests wait in a bounded queue, and whatever waits when the engine is free runs together.

No timer holds a batch back. Under load, batches form while the engine is busy, and a small one also while the
loop reads: as long as each of its turns brings more rows, they come along. Without load, a request runs when
the loop has come round once. Only a batch that is full, and so can gain nothing by waiting, goes to the
engine's thread while that still computes the one before it: the engine then never waits for the event loop.
One timer goes off at the earliest deadline, however many requests wait, and one when the engine has taken too
long.

A batch that fails fails alone. An engine that hangs, or fails so often that it is asked for answers it is
known to give and has none, is down: the batcher refuses everything until another takes its place.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Final

import structlog

from rbm_service.errors import (
    BackendError,
    DeadlineExceededError,
    DrainingError,
    OverloadedError,
    ServiceError,
    UnhealthyError,
)
from rbm_service.inference.batch import Answer, Job, RowLimit, take_batch, unlimited
from rbm_service.inference.deadline_timer import DeadlineTimer
from rbm_service.inference.engine_thread import EngineThread, Outcome
from rbm_service.inference.forward import ComputedBatch, Delivery, Forward, LookUp, Run
from rbm_service.inference.throughput import ThroughputEstimator
from rbm_service.observability.metrics import Queue
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.shapes import ModelInputs
from rbm_service.runtime.tensors import NO_PADDING, UNMEASURED, LatencyTable, Padding

Probe = Callable[[], None]  # raises unless the engine computes what it is known to compute

MAX_RETRY_AFTER_SECONDS: Final = 60.0
FAILURES_UNTIL_PROBE: Final = 3  # in a row; they may be the engine's fault, or that of what it was given
MAX_IN_FLIGHT: Final = 2  # batches handed to the engine thread
SMALL_ROWS: Final = 32  # of what a smaller batch costs, most is the same for one row

log = structlog.get_logger(__name__)


class Batcher:
    """Merges requests into batches and runs one batch at a time; belongs to one event loop.

    Args:
        look_up: what the rows of known nodes hold.
        runs_inline: whether small batches may run on the event loop; not where a run may wait for a device.
        table: what batches took when the engine was warm.
        timeout_seconds: the longest time for one batch.
        probe: asks the engine for what it is known to compute, when several batches in a row have failed.
    """

    def __init__(
        self,
        run: Run,
        look_up: LookUp,
        metrics: ModelMetrics,
        *,
        max_batch_rows: int,
        max_queued_rows: int,
        padding: Padding = NO_PADDING,
        row_limit: RowLimit = unlimited,
        runs_inline: bool = True,
        table: LatencyTable = UNMEASURED,
        timeout_seconds: float = math.inf,
        probe: Probe | None = None,
    ) -> None:
        self._row_limit = row_limit
        self._metrics = metrics
        self._max_batch_rows = max_batch_rows
        self._max_queued_rows = max_queued_rows
        self._runs_inline = runs_inline
        self._throughput = ThroughputEstimator(table)
        self._forward = Forward(run, look_up, metrics, self._throughput, max_batch_rows, padding)
        self._probe = probe
        self._waiting: deque[Job] = deque()
        self._in_flight: deque[Sequence[Job]] = deque()  # the batch that runs, the one behind it
        self._num_failures = 0  # in a row
        self._queued_rows = 0
        self._prefetched_rows = 0  # of the batch behind the one that runs: they wait as well
        self._drain_scheduled = False
        self._deadline_timer = DeadlineTimer()
        self._refusal: type[DrainingError | UnhealthyError] | None = None  # what everyone gets from now on
        self._engine_thread = EngineThread(timeout_seconds)
        metrics.queues.append(self.queue)
        metrics.queue_capacity_rows.set(max_queued_rows)
        metrics.capacity.set(self._throughput.rows_per_second)

    @property
    def is_down(self) -> bool:
        """Whether the engine failed for good."""
        return self._refusal is UnhealthyError

    def queue(self) -> Queue:
        """What waits."""
        num_rows, num_requests = (
            self._queued_rows + self._prefetched_rows,
            len(self._waiting) + len(self._prefetched),
        )
        return Queue(num_rows, num_requests, self._throughput.seconds_for(num_rows))

    @property
    def _prefetched(self) -> Sequence[Job]:
        """The batch behind the one that runs."""
        return self._in_flight[1] if len(self._in_flight) > 1 else ()

    def submit(
        self, model_inputs: ModelInputs, num_rows: int, *, explain: bool = False, deadline: float = math.inf
    ) -> asyncio.Future[Answer]:
        """Let `num_rows` rows wait for their turn; await what is returned for their outputs.

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
        self._check_admission(num_rows, deadline)
        answering: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job(model_inputs, num_rows, explain, time.perf_counter(), deadline, answering))
        self._queued_rows += num_rows
        self._deadline_timer.set(deadline, self._drop_the_late)
        self._schedule_drain()
        return answering

    def give_up(self, answering: asyncio.Future[Answer], error: type[Exception]) -> None:
        """Let whoever waits have this error instead; rows that are not being computed make room."""
        if not answering.done():
            answering.set_exception(error)
            self._deadline_timer.set(
                -math.inf, self._drop_the_late
            )  # once for all who leave in this turn of the loop

    def close(self) -> None:
        """Take nothing more and refuse what has no answer yet; a batch that runs ends by itself, unheard."""
        self._refusal = DrainingError
        self._refuse_all(DrainingError(), DrainingError())
        self._deadline_timer.cancel()
        self._engine_thread.close()
        if self.queue in self._metrics.queues:
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
        waiting_rows = self._queued_rows + self._prefetched_rows
        if waiting_rows + num_rows > self._max_queued_rows:
            seconds = self._throughput.seconds_for(waiting_rows)
            raise OverloadedError(min(seconds, MAX_RETRY_AFTER_SECONDS))
        return waiting_rows

    def _check_admission(self, num_rows: int, deadline: float) -> None:
        waiting_rows = self.check_room(num_rows)
        # Never where nothing waits: an estimate that was wrong once would then never be put right.
        if waiting_rows and deadline < math.inf:
            soonest = time.perf_counter() + self._throughput.seconds_for(waiting_rows + num_rows)
            if soonest > deadline:
                raise DeadlineExceededError

    def _refuse_all(self, running: ServiceError, waiting: ServiceError) -> None:
        for job in chain(self._prefetched, self._waiting):
            job.refuse(waiting)
        for job in chain(*self._in_flight):  # of which none is left but those that run
            job.refuse(running)
        self._waiting.clear()
        self._queued_rows = self._prefetched_rows = 0

    def _drop_the_late(self) -> None:
        """Drop everyone who has left or whose deadline has passed, and set the timer for the next."""
        now = time.perf_counter()
        self._waiting = deque(job for job in self._waiting if not job.is_over(now))
        self._queued_rows = sum(job.num_rows for job in self._waiting)
        taken = [job for job in chain(*self._in_flight) if not job.is_over(now)]
        self._count_behind()
        earliest = min((job.deadline for job in (*taken, *self._waiting)), default=math.inf)
        self._deadline_timer.set(earliest, self._drop_the_late)

    def _schedule_drain(self) -> None:
        """Let the next batch begin: a full one now, any other when the loop has come to everyone else."""
        if self._queued_rows >= self._max_batch_rows and self._engine_thread.num_tasks < MAX_IN_FLIGHT:
            self._drain()
        elif not self._drain_scheduled and not self._engine_thread.num_tasks:
            self._drain_scheduled = True
            asyncio.get_running_loop().call_soon(self._drain_unless_growing, 0)

    def _drain_unless_growing(self, seen_rows: int) -> None:
        """Let a small batch wait for whatever the loop reads next, if it has grown since the turn before."""
        if seen_rows < self._queued_rows < SMALL_ROWS and not self._engine_thread.num_tasks:
            asyncio.get_running_loop().call_soon(self._drain_unless_growing, self._queued_rows)
            return
        self._drain_scheduled = False
        if not self._engine_thread.num_tasks:
            self._drain()

    def _drain(self) -> None:
        batch = take_batch(self._waiting, self._max_batch_rows, time.perf_counter(), self._row_limit)
        self._queued_rows = sum(job.num_rows for job in self._waiting)
        if not batch:
            return
        if self._runs_inline and len(batch) == 1 and batch[0].is_small and self._is_at_rest:
            self._answer(batch, partial(self._forward.compute, batch))
        else:
            self._run_in_thread(batch)

    @property
    def _is_at_rest(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._engine_thread.num_tasks

    def _run_in_thread(self, batch: Sequence[Job]) -> None:
        self._in_flight.append(batch)
        self._count_behind()
        work = partial(self._forward.compute, batch)
        self._engine_thread.start(work, partial(self._on_computed, batch), self._on_overdue)

    def _on_computed(self, batch: Sequence[Job], computing: Outcome[ComputedBatch]) -> None:
        self._in_flight.popleft()
        self._count_behind()
        if error := computing.error:
            self._fail(batch, error)
        else:
            self._answer(batch, computing.result)
        self._schedule_drain()

    def _count_behind(self) -> None:
        self._prefetched_rows = sum(job.num_rows for job in self._prefetched if not job.future.done())

    def _answer(self, batch: Sequence[Job], compute: Callable[[], ComputedBatch]) -> None:
        try:
            deliveries = self._forward.answers(compute())
        except Exception as error:  # noqa: BLE001 - the unit of work is this batch
            self._fail(batch, error)
        else:
            self._deliver(deliveries)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        self._num_failures = 0
        for job, answer in deliveries:
            if not job.future.done():
                job.future.set_result(answer)

    def _fail(self, batch: Sequence[Job], error: BaseException) -> None:
        num_rows = sum(job.num_rows for job in batch)
        log.error("batch failed", num_requests=len(batch), num_rows=num_rows, exc_info=error)
        for job in batch:
            job.refuse(BackendError())
        self._num_failures += 1
        if self._num_failures == FAILURES_UNTIL_PROBE and self._probe and not self._refusal:
            probe = self._probe
            self._engine_thread.start(lambda _: probe(), self._on_probed, self._on_overdue)

    def _on_probed(self, probing: Outcome[None]) -> None:
        self._num_failures = 0
        if error := probing.error:
            self._go_down(f"the golden rows fail as well: {error}")
        self._schedule_drain()

    def _on_overdue(self) -> None:
        self._go_down("a run does not end")

    def _go_down(self, reason: str) -> None:
        """The engine is not to be relied on any more; what it still computes is not heard."""
        log.error("engine down", reason=reason, num_requests=sum(map(len, (*self._in_flight, self._waiting))))
        self._refusal = UnhealthyError
        self._refuse_all(BackendError(), UnhealthyError())
