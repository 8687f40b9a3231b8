"""The requests that wait for the engine, in order, each until its deadline. Belongs to one event loop."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

from rbm_service.errors import ServiceError
from rbm_service.inference.batch import Job
from rbm_service.inference.features import MAX_PADDED


def nobody_looks() -> None:
    """Look for nobody."""


class RequestQueue:
    """Waiting requests, and one timer for all deadlines, set for the earliest.

    Args:
        on_late: called when somebody has left or a deadline has passed; answers with `drop_late`.

    Attributes:
        num_rows: the rows of all that wait.
    """

    def __init__(self, on_late: Callable[[], None]) -> None:
        self.jobs: deque[Job] = deque()
        self.num_rows = 0
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None
        self._next_deadline = math.inf  # when the timer goes off

    def push(self, job: Job) -> None:
        """Let a request wait behind all others."""
        self.jobs.append(job)
        self.num_rows += job.rows.num_rows
        if job.deadline < self._next_deadline:
            self._wake_at(job.deadline)

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

    def notice_leaving(self) -> None:
        """Look for those who have left, once for all who leave in this turn of the loop."""
        if self._next_deadline > -math.inf:
            self._wake_at(-math.inf)

    def drop_late(self, running: Iterable[Job]) -> None:
        """Drop everyone who has left or whose deadline has passed, also among those that run."""
        now = time.perf_counter()
        self.jobs = deque(job for job in self.jobs if not job.is_over(now))
        self.num_rows = sum(job.rows.num_rows for job in self.jobs)
        still_running = [job for job in running if not job.is_over(now)]
        self._wake_at(min((job.deadline for job in chain(still_running, self.jobs)), default=math.inf))

    def refuse_all(self, error: ServiceError) -> None:
        """Answer everyone with an error."""
        for job in self.jobs:
            job.refuse(error)
        self.jobs.clear()
        self.num_rows = 0

    def close(self) -> None:
        """Look for nobody any more, and keep nothing of whoever looked."""
        self._wake_at(math.inf)
        self._on_late = nobody_looks

    def _wake_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_deadline, self._timer = moment, None
        if moment < math.inf:
            seconds = max(0.0, moment - time.perf_counter())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_late)
