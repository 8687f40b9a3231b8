"""What a batch is made of: the waiting requests that go into it, their rows stacked, and taken apart again.

Dimension letters: B batch, C classes.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy.typing as npt

from rbm_bundle.nodes import Floats, Integers
from rbm_service.errors import DeadlineExceededError, ServiceError
from rbm_service.runtime.shapes import ModelInputs, width_of
from rbm_service.runtime.tensors import Tensors

RowLimit = Callable[[int], float]  # rows of some width that fit one forward pass

INLINE_ROWS: Final = 32  # up to here, handing over to a thread costs more than the forward pass
INLINE_NONZEROS: Final = 4096  # the same for sparse rows, padding included


class BatchSlice(Mapping[str, npt.NDArray[Any]]):
    """The rows of one request among the tensors of its batch: views, made when they are asked for."""

    __slots__ = ("_span", "_tensors")

    def __init__(self, tensors: Tensors, span: slice) -> None:
        self._tensors = tensors
        self._span = span

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._tensors[name][self._span]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@dataclass(slots=True)
class Answer:
    """The outputs for the rows of one request, the most probable class of each and its probability, how long
    they took, and the batch they were in: its number and all its rows."""

    outputs: Tensors
    class_index: list[int]
    confidence: list[float]
    queue_seconds: float
    inference_seconds: float
    batch_number: int
    batch_rows: int


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits; each of its inputs has `num_rows` rows. Times are of `time.perf_counter`."""

    model_inputs: ModelInputs
    num_rows: int
    explain: bool
    submitted: float
    deadline: float
    future: asyncio.Future[Answer]

    @property
    def is_small(self) -> bool:
        """Whether the forward pass is short enough to keep everyone else waiting."""
        return self.num_rows <= INLINE_ROWS and self.num_rows * width_of(self.model_inputs) <= INLINE_NONZEROS

    def refuse(self, error: ServiceError) -> None:
        """Answer with an error, unless there is an answer or nobody to read it."""
        if not self.future.done():
            self.future.set_exception(error)

    def is_over(self, now: float) -> bool:
        """Whether nobody waits for the outputs any more; past its deadline, the caller is told so."""
        if self.deadline <= now:
            self.refuse(DeadlineExceededError())
        return self.future.done()


def unlimited(width: int) -> float:
    """Rows of any width fit."""
    return math.inf


def take_batch(waiting: deque[Job], max_rows: int, now: float, row_limit: RowLimit = unlimited) -> list[Job]:
    """Remove from the queue what runs next: as many requests as fit, in order.

    Requests whose caller has gone or whose deadline has passed are dropped. A request that alone exceeds
    `max_rows` is a batch of its own. Rows that share a batch are padded to the longest of them, so a long one
    leaves room for few: no more than `row_limit` allows at its width.
    """
    batch: list[Job] = []
    num_rows, widest, limit = 0, -1, float(max_rows)
    while waiting:
        job = waiting[0]
        if job.is_over(now):
            waiting.popleft()
            continue
        if (width := width_of(job.model_inputs)) > widest:
            widest = width
            limit = min(max_rows, row_limit(widest))
        if batch and num_rows + job.num_rows > limit:
            break
        batch.append(waiting.popleft())
        num_rows += job.num_rows
    return batch


def spans_of(sizes: Sequence[int]) -> list[slice]:
    """Where the rows of each request lie in their batch."""
    return [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def most_probable(probabilities: Floats) -> tuple[Integers, Floats]:
    """The class of highest probability (B, C), the first of several, and its probability: both (B,)."""
    return probabilities.argmax(axis=1), probabilities.max(axis=1)
