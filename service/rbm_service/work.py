"""What was done for a request, as its trace shows it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rbm_service.metrics import Stage


@dataclass(frozen=True, slots=True)
class Work:
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
