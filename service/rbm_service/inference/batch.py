"""A batch: the waiting requests that go into it, their rows through the engine, and the outputs of each.

Dimension letters: B batch, C classes, L layers, K experts per row.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from rbm_bundle import Bundle, Manifest
from rbm_bundle.nodes import Floats, Integers
from rbm_service.errors import DeadlineExceededError, ServiceError
from rbm_service.inference.features import graph_inputs
from rbm_service.inference.preprocessing import RequestRows, TableRows
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.shapes import padding
from rbm_service.runtime.tensors import ALWAYS, EXPLAINED, FEW_NUMBERS, Tensors, cut, stack

Run = Callable[[Tensors, Sequence[str]], Tensors]

INLINE_ROWS: Final = 32  # up to here, handing over to a thread costs more than the forward pass
INLINE_NONZEROS: Final = 4096  # the same for sparse rows, padding included


@dataclass(slots=True)
class RequestOutputs:
    """What a request has of its batch: the most probable class of each row and its probability, which is all
    that most answers need, and the place of its rows in all outputs."""

    batch: "ComputedBatch"
    rows: slice
    class_index: list[int]
    confidence: list[float]
    queue_seconds: float

    @property
    def outputs(self) -> Tensors:
        """The outputs for the rows of the request."""
        return cut(self.batch.outputs, self.rows)


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits. Times are of `time.perf_counter`."""

    rows: RequestRows
    explain: bool
    submitted: float
    deadline: float
    future: asyncio.Future[RequestOutputs]
    num_passed: int = 0  # rows of others that came later and went before

    @property
    def is_small(self) -> bool:
        """Whether the forward pass is short enough to keep everyone else waiting."""
        num_rows = self.rows.num_rows
        return num_rows <= INLINE_ROWS and num_rows * self.rows.width <= INLINE_NONZEROS

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
        inputs, rows = requests[0].overrides, requests[0].table_rows
        if self._feature_names[0] not in inputs:
            inputs = {**inputs, **self._features_of(rows)}
        if "positions" not in inputs:
            inputs = {**inputs, **self._positions_of(rows)}
        return inputs

    def _column(
        self, requests: Sequence[RequestRows], names: Sequence[str], look_up: Callable[[TableRows], Tensors]
    ) -> Tensors:
        """Some inputs of all requests, brought by the caller or looked up."""
        asking = [request for request in requests if names[0] not in request.overrides]
        found = look_up(_joined([request.table_rows for request in asking])) if asking else {}
        if len(asking) == len(requests):
            return found
        parts: list[Tensors] = []
        end = 0
        for request in requests:
            if names[0] in request.overrides:
                parts.append({name: request.overrides[name] for name in names})
            else:
                start, end = end, end + request.num_rows
                parts.append(cut(found, slice(start, end)))
        return stack(parts, self._padding)

    def _features_of(self, rows: TableRows) -> Tensors:
        cached = self._nodes.features
        if self._form == "dense" and isinstance(cached, np.ndarray):  # as the graph takes them
            return {"features": cached.take(rows, axis=0)}
        return graph_inputs(self._nodes.features_of(rows), self._form)

    def _positions_of(self, rows: TableRows) -> Tensors:
        return {"positions": self._nodes.positions_of(rows)}


def _joined(parts: Sequence[TableRows]) -> Integers:
    """All of them in one array; of many short lists, numpy would make as many arrays."""
    if all([isinstance(part, list) for part in parts]):
        return np.array(list(chain.from_iterable(parts)), np.int64)
    return np.concatenate(parts, dtype=np.int64)


@dataclass(slots=True)
class ComputedBatch:
    """Requests whose rows went through the engine, the outputs for all of them, when that began, by
    `time.perf_counter`, and how long it took; its number, once it is answered."""

    jobs: Sequence[Job]
    outputs: Tensors
    started: float
    seconds: float
    number: int = 0

    @property
    def num_rows(self) -> int:
        """The rows of all requests."""
        return len(self.outputs["probabilities"])

    def answer(self, metrics: ModelMetrics) -> None:
        """Give each request its outputs, and count what was computed."""
        jobs, self.jobs = self.jobs, ()  # or each would hold itself, by its outputs and their batch
        if not jobs:
            return
        classes, confidences = _most_probable(self.outputs["probabilities"])  # B each
        metrics.count_batch(len(jobs), self.outputs["experts"], classes, confidences)
        end = 0
        for job in jobs:
            start, end = end, end + job.rows.num_rows
            if not job.future.done():
                rows, queue_seconds = slice(start, end), self.started - job.submitted
                outputs = RequestOutputs(self, rows, classes[rows], confidences[rows], queue_seconds)
                job.future.set_result(outputs)


def compute(
    run: Run, gather: InputGatherer, batch: Sequence[Job], about_to_run: Callable[[], object] | None = None
) -> ComputedBatch:
    """Run the rows of a batch, in whatever thread; those whose caller has gone meanwhile are left out.

    Args:
        run: the engine's.
        about_to_run: called when the rows are ready; while they run, other threads have the interpreter.
    """
    started = time.perf_counter()
    jobs: list[Job] = []
    requests: list[RequestRows] = []
    names: Sequence[str] = ALWAYS
    for job in batch:
        if not job.future.done():
            jobs.append(job)
            requests.append(job.rows)
            names = EXPLAINED if job.explain else names
    if not jobs:
        return ComputedBatch((), {}, started, 0.0)
    model_inputs = gather.inputs_of(requests)
    if about_to_run is not None:
        about_to_run()
    outputs = run(model_inputs, names)
    return ComputedBatch(jobs, outputs, started, time.perf_counter() - started)


def no_outputs(manifest: Manifest) -> RequestOutputs:
    """The outputs of no rows, for which no engine is needed."""
    specs = manifest.outputs().values()
    tensors = {spec.name: np.zeros([size or 0 for size in spec.shape], spec.dtype) for spec in specs}
    return RequestOutputs(ComputedBatch((), tensors, time.perf_counter(), 0.0), slice(0, 0), [], [], 0.0)


def _most_probable(probabilities: Floats) -> tuple[list[int], list[float]]:
    """The class of highest probability in each row, the first of several, and that probability."""
    if probabilities.size <= FEW_NUMBERS:
        rows = probabilities.tolist()
        highest = list(map(max, rows))
        return list(map(list.index, rows, highest)), highest
    return probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist()
