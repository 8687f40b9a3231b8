"""How long each stage of a request took, for metrics, traces and the `Server-Timing` header."""

from collections.abc import Mapping
from time import perf_counter
from typing import Final

from rbm_service.batches import Answer
from rbm_service.metrics import STAGES, Stage
from rbm_service.slot import ServedModel
from rbm_service.work import Work

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


def work_of(model: ServedModel, answer: Answer, num_rows: int, watch: Stopwatch) -> Work:
    """What was done for a request that has its answer."""
    return Work(
        model_name=model.name,
        model_version=model.version,
        num_rows=num_rows,
        batch_number=answer.batch_number,
        batch_rows=answer.batch_rows,
        started=watch.started,
        stage_seconds=watch.seconds,
    )
