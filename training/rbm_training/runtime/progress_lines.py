"""Progress where there is no terminal to draw a bar on: a line now and then, and one when a stage is done."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

LINE_SECONDS: Final = 30.0


class ProgressLines:
    """The lines of one stage.

    Args:
        tell: writes a line beside its title.
        total: steps of the stage, at most.
        done: steps that an earlier process has done.
        clock: seconds, from any moment on.
    """

    def __init__(
        self, tell: Callable[[str, str], None], title: str, total: int, done: int, clock: Callable[[], float]
    ) -> None:
        self._tell = tell
        self._title = title
        self._total = total
        self._first = self._done = done
        self._clock = clock
        self._started = self._told = clock()
        self._note = ""

    def advance(self, note: str) -> None:
        """One step done; tell of it if nothing was told for a while."""
        self._done, self._note, now = self._done + 1, note, self._clock()
        if now - self._told < LINE_SECONDS:
            return
        self._told, spent = now, now - self._started
        left = spent / (self._done - self._first) * (self._total - self._done)
        time = f"{_shown(spent)} spent, at most {_shown(left)} left"
        self._tell(self._title, f"{self._done:,} of {self._total:,}, {time}{self._noted}")

    def conclude(self, note: str) -> None:
        """Note what has come of it, to be told when it is done."""
        self._note = note

    def finish(self) -> None:
        """Tell how long it took."""
        spent = _shown(self._clock() - self._started)
        self._tell(self._title, f"done, {self._done - self._first:,} steps in {spent}{self._noted}")

    @property
    def _noted(self) -> str:
        return f", {self._note}" if self._note else ""


def _shown(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
