"""Two or more sides of a comparison, timed in turns in one process."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

ROUNDS = 15
ROUND_SECONDS = 0.1

Call = Callable[[], object]
Request = TypeVar("Request")


def compare(ours: Call, theirs: Call) -> tuple[list[float], list[float]]:
    """Seconds a call of each side, round by round, the two taking turns."""
    repeats = max(1, round(ROUND_SECONDS / max(_seconds_per_call(theirs, 3), 1e-6)))
    _seconds_per_call(ours, repeats)
    rounds = [(_seconds_per_call(ours, repeats), _seconds_per_call(theirs, repeats)) for _ in range(ROUNDS)]
    return [mine for mine, _ in rounds], [other for _, other in rounds]


def time_requests(
    answers: Mapping[str, Callable[[Request], object]], requests: Sequence[Request]
) -> dict[str, list[float]]:
    """Seconds that each side takes for each request.

    The sides take turns, a round of requests each: within a round a side serves as it would alone, its own
    code and weights at hand.
    """
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    size = math.ceil(len(requests) / ROUNDS)
    for start in range(0, len(requests), size):
        for name, answer in answers.items():
            seconds[name] += [_seconds(answer, request) for request in requests[start : start + size]]
    return seconds


def _seconds(answer: Callable[[Request], object], request: Request) -> float:
    started = time.perf_counter()
    answer(request)
    return time.perf_counter() - started


def times_faster(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over rounds of theirs over ours."""
    return statistics.median(other / mine for mine, other in zip(ours, theirs, strict=True))


def microseconds(seconds: Sequence[float]) -> float:
    """The median, for orientation."""
    return round(1e6 * statistics.median(seconds), 1)


def _seconds_per_call(call: Call, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats
