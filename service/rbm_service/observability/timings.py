"""What was done for a request, as its trace shows it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rbm_service.observability.metrics import Stage


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """What a trace tells of a request that was computed.

    Attributes:
        batch_number: of the batch that its rows were in, together with those of other requests.
        batch_rows: all rows of that batch.
        started: the beginning of the first stage, by `time.perf_counter`.
        stage_seconds: the time of each stage, in order.
    """

    model_name: str
    model_version: int
    num_rows: int
    batch_number: int
    batch_rows: int
    started: float
    stage_seconds: Mapping[Stage, float]
