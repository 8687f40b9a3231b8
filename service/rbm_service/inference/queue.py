"""The requests that wait for the engine, in order, each until its deadline. Belongs to one event loop."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Final

from rbm_service.errors import ServiceError
from rbm_service.inference.batch import Job
from rbm_service.inference.features import MAX_PADDED

LONG_ROWS: Final = 256  # a request of so many keeps the engine busy for a millisecond and more
MAX_PASSED_ROWS: Final = 32  # that may go before a long request, all together


class RequestQueue:
    """Requests that wait or run, and one timer for all deadlines, set for the earliest.

    Attributes:
        jobs: those that are in no batch yet.
        num_rows: the rows of `jobs`.
        in_flight: the batch that runs, and the prefetched one, which waits as well.
        prefetched_rows: the rows of the prefetched one for which somebody waits.
    """

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.num_rows = 0
        self.in_flight: deque[Sequence[Job]] = deque()
        self.prefetched_rows = 0
        self._timer: asyncio.TimerHandle | None = None
        self._next_deadline = math.inf  # when the timer goes off

    @property
    def prefetched(self) -> Sequence[Job]:
        """The batch behind the one that runs."""
        behind = [*self.in_flight][1:]  # at once: a scrape may ask in another thread
        return behind[0] if behind else ()

    def push(self, job: Job) -> None:
        """Let a request wait behind all others, but before long ones that have let few rows pass so far."""
        jobs, num_rows = self.jobs, job.rows.num_rows
        if jobs and num_rows < LONG_ROWS <= jobs[-1].rows.num_rows:
            jobs.insert(self._place_before_long(num_rows), job)
        else:
            jobs.append(job)
        self.num_rows += num_rows
        if job.deadline < self._next_deadline:
            self._wake_at(job.deadline)

    def _place_before_long(self, num_rows: int) -> int:
        """Where so many rows go, and count them as let pass."""
        place = len(self.jobs)
        while place and self.jobs[place - 1].rows.num_rows >= LONG_ROWS:
            long = self.jobs[place - 1]
            if long.num_passed + num_rows > MAX_PASSED_ROWS:
                break
            long.num_passed += num_rows
            place -= 1
        return place

    def take(self, max_rows: int, now: float) -> list[Job]:
        """Remove what runs next: as many requests as fit, in order.

        Requests whose caller has gone or whose deadline has passed are dropped. A request that alone exceeds
        `max_rows` is a batch of its own. Sparse rows that share a batch are padded to the longest of them,
        and all of that has to fit into memory, so a long one leaves room for few.
        """
        batch: list[Job] = []
        num_rows = widest = 0
        while self.jobs:
            job = self.jobs[0]
            if not job.is_over(now):
                num_rows, widest = num_rows + job.rows.num_rows, max(widest, job.rows.width)
                if batch and (num_rows > max_rows or num_rows * widest > MAX_PADDED):
                    break
                batch.append(job)
            self.jobs.popleft()
            self.num_rows -= job.rows.num_rows
        return batch

    def begin(self, batch: Sequence[Job]) -> None:
        """Note a batch that was handed to the engine's thread."""
        self.in_flight.append(batch)
        self._count_prefetched()

    def end(self) -> None:
        """Note that the batch that ran is done."""
        self.in_flight.popleft()
        self._count_prefetched()

    def notice_leaving(self) -> None:
        """Look for those who have left, once for all who leave in this turn of the loop."""
        if self._next_deadline > -math.inf:
            self._wake_at(-math.inf)

    def refuse_all(self, running: ServiceError, waiting: ServiceError) -> None:
        """Answer everyone with an error: those that run with one, all others with another."""
        for job in (*self.jobs, *self.prefetched):
            job.refuse(waiting)
        for job in chain(*self.in_flight):  # of which none is left but those that run
            job.refuse(running)
        self.jobs.clear()
        self.num_rows = self.prefetched_rows = 0
        self._wake_at(math.inf)

    def _drop_late(self) -> None:
        """Drop everyone who has left or whose deadline has passed, also among those that run."""
        now = time.perf_counter()
        self.jobs = deque(job for job in self.jobs if not job.is_over(now))
        self.num_rows = sum(job.rows.num_rows for job in self.jobs)
        still_running = [job for job in chain(*self.in_flight) if not job.is_over(now)]
        self._count_prefetched()
        self._wake_at(min((job.deadline for job in chain(still_running, self.jobs)), default=math.inf))

    def _count_prefetched(self) -> None:
        self.prefetched_rows = sum([job.rows.num_rows for job in self.prefetched if not job.future.done()])

    def _wake_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_deadline, self._timer = moment, None
        if moment < math.inf:
            seconds = max(0.0, moment - time.perf_counter())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._drop_late)
