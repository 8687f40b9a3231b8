"""A batch: the waiting requests that go into it, their rows through the engine, and the outputs of each.

Dimension letters: B batch, C classes, L layers, K experts per row.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle import Bundle
from rbm_bundle.nodes import Integers
from rbm_service.errors import DeadlineExceededError, ServiceError
from rbm_service.inference.features import graph_features, in_form
from rbm_service.inference.preprocessing import RequestRows, TableRows
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.shapes import padding
from rbm_service.runtime.tensors import ALWAYS, EXPLAINED, Tensors, stack

Run = Callable[[Tensors, Sequence[str]], Tensors]

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
class RequestOutputs:
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
    """A request that waits. Times are of `time.perf_counter`."""

    rows: RequestRows
    explain: bool
    submitted: float
    deadline: float
    future: asyncio.Future[RequestOutputs]

    @property
    def num_rows(self) -> int:
        """B."""
        return self.rows.num_rows

    @property
    def is_small(self) -> bool:
        """Whether the forward pass is short enough to keep everyone else waiting."""
        return self.num_rows <= INLINE_ROWS and self.num_rows * self.rows.width <= INLINE_NONZEROS

    def refuse(self, error: ServiceError) -> None:
        """Answer with an error, unless there is an answer or nobody to read it."""
        if not self.future.done():
            self.future.set_exception(error)

    def is_over(self, now: float) -> bool:
        """Whether nobody waits for the outputs any more; past its deadline, the caller is told so."""
        if self.deadline <= now:
            self.refuse(DeadlineExceededError())
        return self.future.done()


class InputGatherer:
    """Finds what the graph takes of known nodes: one lookup for all rows of a batch, which for many rows
    takes little longer than for one."""

    def __init__(self, bundle: Bundle) -> None:
        features = bundle.manifest.features
        self._nodes = bundle.nodes
        self._form = features.form
        self._feature_names = tuple(features.inputs())
        self._padding = padding(features)

    def inputs_of(self, requests: Sequence[RequestRows]) -> Tensors:
        """The inputs of the graph for the rows of some requests, one request below the other."""
        if len(requests) > 1:
            features = self._column(requests, self._feature_names, self._features_of)
            return {**features, **self._column(requests, ("positions",), self._positions_of)}
        (request,) = requests
        inputs = dict(request.overrides)
        if self._feature_names[0] not in inputs:
            inputs.update(self._features_of(request.table_rows))
        if "positions" not in inputs:
            inputs.update(self._positions_of(request.table_rows))
        return inputs

    def _column(
        self, requests: Sequence[RequestRows], names: Sequence[str], look_up: Callable[[TableRows], Tensors]
    ) -> Tensors:
        """Some inputs of all requests, brought by the caller or looked up."""
        asking = [request for request in requests if names[0] not in request.overrides]
        found = look_up(_joined([request.table_rows for request in asking])) if asking else {}
        if len(asking) == len(requests):
            return found
        parts, end = [], 0
        for request in requests:
            if names[0] in request.overrides:
                parts.append({name: request.overrides[name] for name in names})
            else:
                start, end = end, end + request.num_rows
                parts.append({name: found[name][start:end] for name in names})
        return stack(parts, self._padding)

    def _features_of(self, rows: TableRows) -> Tensors:
        features = self._nodes.features_of(rows)
        return graph_features(in_form(features, self._form))

    def _positions_of(self, rows: TableRows) -> Tensors:
        return {"positions": self._nodes.positions_of(rows)}


def _joined(parts: Sequence[TableRows]) -> Integers:
    """All of them in one array; of many short lists, numpy would make as many arrays."""
    if all([isinstance(part, list) for part in parts]):
        return np.array(list(chain.from_iterable(parts)), np.int64)
    return np.concatenate(parts, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ComputedBatch:
    """Requests whose rows went through the engine, the outputs for all of them, when that began, by
    `time.perf_counter`, and how long it took."""

    jobs: Sequence[Job]
    outputs: Tensors
    started: float
    seconds: float


class BatchRunner:
    """Computes batches in whatever thread, never two at a time; the event loop then takes them apart, while
    the thread computes the next one.

    Args:
        run: the engine's.
        gather: finds what the bundle holds of known nodes.
    """

    def __init__(self, run: Run, gather: InputGatherer, metrics: ModelMetrics) -> None:
        self._run = run
        self._gather = gather
        self._metrics = metrics
        self._num_batches = 0

    def compute(
        self, batch: Sequence[Job], about_to_run: Callable[[], object] | None = None
    ) -> ComputedBatch:
        """Run the rows of a batch; those whose caller has gone meanwhile are left out.

        Args:
            about_to_run: called when the rows are ready; while they run, other threads have the interpreter.
        """
        started = time.perf_counter()
        jobs = [job for job in batch if not job.future.done()]
        if not jobs:
            return ComputedBatch((), {}, started, 0.0)
        names = EXPLAINED if True in [job.explain for job in jobs] else ALWAYS
        model_inputs = self._gather.inputs_of([job.rows for job in jobs])
        if about_to_run is not None:
            about_to_run()
        outputs = self._run(model_inputs, names)
        return ComputedBatch(jobs, outputs, started, time.perf_counter() - started)

    def take_apart(self, computed: ComputedBatch) -> list[RequestOutputs]:
        """The outputs of each request, in order; what was computed is counted."""
        if not computed.jobs:
            return []
        jobs, probabilities = computed.jobs, computed.outputs["probabilities"]
        class_index, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)  # both (B,)
        self._metrics.count_batch(len(jobs), computed.outputs["experts"], class_index, confidence)
        self._num_batches += 1
        of_batch = (computed.seconds, self._num_batches, len(class_index))
        classes, confidences = class_index.tolist(), confidence.tolist()
        found, end = [], 0
        for job in jobs:
            start, end = end, end + job.rows.num_rows
            share = BatchSlice(computed.outputs, slice(start, end))
            queued = computed.started - job.submitted
            found.append(RequestOutputs(share, classes[start:end], confidences[start:end], queued, *of_batch))
        return found
