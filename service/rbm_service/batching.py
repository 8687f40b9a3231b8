"""The batcher: requests wait in a bounded queue, and whatever waits when the engine is free runs together.

No timer holds a batch back: under load, batches form while the engine is busy; without load, a request runs
at once. The one timer there is goes off at the earliest deadline, however many requests wait.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import structlog

from rbm_service.batches import (
    NO_PADDING,
    Answer,
    Job,
    Padding,
    RowLimit,
    most_probable,
    split,
    stack,
    take_batch,
    unlimited,
)
from rbm_service.errors import (
    BackendError,
    DrainingError,
    OverloadedError,
)
from rbm_service.metrics import ModelMetrics
from rbm_service.shapes import Tensors

Run = Callable[[Tensors, Sequence[str]], Tensors]

ALWAYS: Final = ("probabilities", "experts")
EXPLAINED: Final = (*ALWAYS, "weights", "similarity")
MAX_RETRY_AFTER_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Batcher:
    """Merges requests into batches and runs one batch at a time; belongs to one event loop."""

    def __init__(
        self,
        run: Run,
        metrics: ModelMetrics,
        *,
        max_batch_rows: int,
        max_queued_rows: int,
        padding: Padding = NO_PADDING,
        row_limit: RowLimit = unlimited,
    ) -> None:
        self._run = run
        self._padding = padding
        self._row_limit = row_limit
        self._metrics = metrics
        self._max_batch_rows = max_batch_rows
        self._max_queued_rows = max_queued_rows
        self._waiting: deque[Job] = deque()
        self._running: Sequence[Job] = ()  # in the engine thread
        self._queued_rows = 0
        self._queued_requests = 0
        self._num_batches = 0
        self._rows_per_second: float | None = None
        self._drain_scheduled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_time = math.inf
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-engine")
        metrics.queue_capacity_rows.set(max_queued_rows)

    async def submit(
        self, feeds: Tensors, num_rows: int, *, explain: bool = False, deadline: float = math.inf
    ) -> Answer:
        """The outputs for `num_rows` rows, once it is their turn.

        Args:
            deadline: when the caller stops waiting, by `time.perf_counter`. Rows that still wait then are
                never computed; those that are being computed keep the rest of their batch company.

        Raises:
            OverloadedError: the queue has no room for them.
            DeadlineExceededError: the deadline passed first.
            BackendError: the batch they were in failed.
            DrainingError: the batcher is closed, or was before it came to them.
        """
        if self._closed:
            raise DrainingError
        if self._queued_rows + num_rows > self._max_queued_rows:
            raise OverloadedError(self._seconds_until_empty())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job(feeds, num_rows, explain, time.perf_counter(), deadline, future))
        self._show_queue(self._queued_rows + num_rows)
        self._watch(deadline)
        self._schedule_drain()
        return await future

    def close(self) -> None:
        """Take nothing more and refuse what has no answer yet; a batch that runs ends by itself, unheard."""
        self._closed = True
        for job in (*self._running, *self._waiting):
            job.refuse(DrainingError())
        self._waiting.clear()
        self._show_queue(0)
        if self._alarm is not None:
            self._alarm.cancel()
        self._thread.shutdown(wait=not self._running)

    def _watch(self, deadline: float) -> None:
        if deadline >= self._alarm_time:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_time = deadline
        seconds = max(0.0, deadline - time.perf_counter())
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._on_alarm)

    def _on_alarm(self) -> None:
        """Answer everyone whose deadline has passed, and set the alarm for the next."""
        self._alarm, self._alarm_time = None, math.inf
        now = time.perf_counter()
        self._waiting = deque(job for job in self._waiting if not job.is_over(now))
        self._show_queue(sum(job.num_rows for job in self._waiting))
        running = [job for job in self._running if not job.is_over(now)]
        self._watch(min((job.deadline for job in (*running, *self._waiting)), default=math.inf))

    def _schedule_drain(self) -> None:
        if not self._drain_scheduled and not self._running:
            self._drain_scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._drain_scheduled = False
        batch = take_batch(self._waiting, self._max_batch_rows, time.perf_counter(), self._row_limit)
        self._show_queue(sum(job.num_rows for job in self._waiting))
        if not batch:
            return
        if len(batch) == 1 and not self._waiting and batch[0].is_small:
            self._run_inline(batch)
        else:
            self._run_in_thread(batch)

    def _run_inline(self, batch: Sequence[Job]) -> None:
        try:
            answers = self._compute(batch)
        except Exception as error:  # noqa: BLE001 - the unit of work is this batch
            _fail(batch, error)
        else:
            _deliver(batch, answers)

    def _run_in_thread(self, batch: Sequence[Job]) -> None:
        self._running = batch
        computing = asyncio.get_running_loop().run_in_executor(self._thread, self._compute, batch)
        computing.add_done_callback(partial(self._on_computed, batch))

    def _on_computed(self, batch: Sequence[Job], computing: asyncio.Future[list[Answer]]) -> None:
        self._running = ()
        if error := computing.exception():
            _fail(batch, error)
        else:
            _deliver(batch, computing.result())
        self._schedule_drain()

    def _compute(self, batch: Sequence[Job]) -> list[Answer]:
        """Everything about a batch that can fail; never runs twice at the same time."""
        started = time.perf_counter()
        sizes = [job.num_rows for job in batch]
        names = EXPLAINED if any(job.explain for job in batch) else ALWAYS
        outputs = self._forward(stack([job.feeds for job in batch], self._padding), sum(sizes), names)
        outputs = {**outputs, **most_probable(outputs["probabilities"])}
        seconds = time.perf_counter() - started
        self._record(len(batch), sum(sizes), seconds, outputs)
        self._num_batches += 1
        of_batch = (self._num_batches, sum(sizes))
        shares = zip(batch, split(outputs, sizes), strict=True)
        return [Answer(share, started - job.submitted, seconds, *of_batch) for job, share in shares]

    def _forward(self, feeds: Tensors, num_rows: int, names: Sequence[str]) -> Tensors:
        parts = []
        for start in range(0, num_rows, self._max_batch_rows):
            end = min(start + self._max_batch_rows, num_rows)
            self._metrics.count_execution(end - start)
            parts.append(self._run({name: rows[start:end] for name, rows in feeds.items()}, names))
        return stack(parts)

    def _record(self, num_requests: int, num_rows: int, seconds: float, outputs: Tensors) -> None:
        self._metrics.requests.inc(num_requests)
        self._metrics.rows.inc(num_rows)
        self._metrics.count_experts(outputs["experts"])
        self._metrics.count_predictions(outputs["class_index"], outputs["confidence"])
        rate = num_rows / seconds
        known = self._rows_per_second
        self._rows_per_second = rate if known is None else 0.8 * known + 0.2 * rate

    def _seconds_until_empty(self) -> float:
        if self._rows_per_second is None:
            return 1.0
        return min(self._queued_rows / self._rows_per_second, MAX_RETRY_AFTER_SECONDS)

    def _show_queue(self, queued_rows: int) -> None:
        """By difference: while one model replaces another, two batchers share the gauges."""
        self._metrics.queue_rows.inc(queued_rows - self._queued_rows)
        self._metrics.queue_requests.inc(len(self._waiting) - self._queued_requests)
        self._queued_rows, self._queued_requests = queued_rows, len(self._waiting)


def _deliver(batch: Sequence[Job], answers: Sequence[Answer]) -> None:
    for job, answer in zip(batch, answers, strict=True):
        if not job.future.done():
            job.future.set_result(answer)


def _fail(batch: Sequence[Job], error: BaseException) -> None:
    num_rows = sum(job.num_rows for job in batch)
    log.error("batch failed", num_requests=len(batch), num_rows=num_rows, exc_info=error)
    for job in batch:
        job.refuse(BackendError())
