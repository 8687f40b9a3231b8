"""How long each stage of a request took, for metrics, traces and the `Server-Timing` header."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from rbm_service.observability.metrics import STAGES, Stage

HEADER: Final = ", ".join(f"{name};dur=%.3f" for name in (*STAGES, "total"))


class Stopwatch:
    """Seconds of each stage, from the moment it is made: `started`, by `time.perf_counter`."""

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {}
        self.started = self._last = perf_counter()

    def lap(self, stage: Stage) -> None:
        """What passed since the last stage was this one."""
        now = perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now

    def take(self, measured: Mapping[Stage, float]) -> None:
        """What passed since the last stage was measured elsewhere."""
        self.seconds.update(measured)
        self._last = perf_counter()

    def header(self) -> str:
        """The value of `Server-Timing`: milliseconds of each stage, when all are over, and in total."""
        milliseconds = [1000 * self.seconds[stage] for stage in STAGES]
        return HEADER % (*milliseconds, 1000 * (self._last - self.started))


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Who computed how many rows, in which batch, and the time of each stage, one after the other.

    `started` is the beginning of the first stage, by `time.perf_counter`.
    """

    model_name: str
    model_version: int
    num_rows: int
    batch_number: int
    batch_rows: int
    started: float
    stage_seconds: Mapping[Stage, float]
