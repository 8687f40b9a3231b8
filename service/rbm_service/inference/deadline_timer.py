"""One timer for many deadlines."""

import asyncio
import math
import time
from collections.abc import Callable


class DeadlineTimer:
    """Goes off at the earliest of the times it was set for, and has then to be set anew; belongs to one event
    loop. Times are of `time.perf_counter`."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._time = math.inf

    def set(self, moment: float, on_time: Callable[[], None]) -> None:
        """Go off at this time, or at once if it has passed, unless an earlier one is set."""
        if moment >= self._time:
            return
        self.cancel()
        self._time = moment
        seconds = max(0.0, moment - time.perf_counter())
        self._timer = asyncio.get_running_loop().call_later(seconds, self._go_off, on_time)

    def cancel(self) -> None:
        """Do not go off."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._time = None, math.inf

    def _go_off(self, on_time: Callable[[], None]) -> None:
        self._timer, self._time = None, math.inf
        on_time()
