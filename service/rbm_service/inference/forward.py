"""A batch through the engine: rows looked up, stacked, run and counted, and taken apart into answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from rbm_bundle.nodes import Integers
from rbm_service.inference.batch import Answer, BatchSlice, Job, most_probable, spans_of
from rbm_service.inference.throughput import ThroughputEstimator
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.shapes import KnownRows
from rbm_service.runtime.tensors import ALWAYS, EXPLAINED, Padding, Tensors, stack

Run = Callable[[Tensors, Sequence[str]], Tensors]
Delivery = tuple[Job, Answer]
LookUp = Callable[[Integers], Tensors]  # what known nodes, (B,), feed the engine with


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class ComputedBatch:
    """Requests whose rows went through the engine, the outputs for all of them, when that began, by
    `time.perf_counter`, and how long it took."""

    jobs: Sequence[Job]
    outputs: Tensors
    started: float
    seconds: float


class Forward:
    """A batch is computed in whatever thread, never two at a time, and then answered on the event loop, while
    the thread computes the next one.

    Args:
        look_up: for requests that name known nodes and leave the rest to the bundle.
        throughput: learns what batches take.
        max_rows: most rows in one run of the engine; a larger batch takes several.
    """

    def __init__(
        self,
        run: Run,
        look_up: LookUp,
        metrics: ModelMetrics,
        throughput: ThroughputEstimator,
        max_rows: int,
        padding: Padding,
    ) -> None:
        self._run = run
        self._look_up = look_up
        self._metrics = metrics
        self._throughput = throughput
        self._max_rows = max_rows
        self._padding = padding
        self._num_batches = 0

    def compute(self, batch: Sequence[Job], before_run: Callable[[], None] = nothing) -> ComputedBatch:
        """Run the rows of a batch; those whose caller has gone meanwhile are left out.

        Args:
            before_run: called when the rows are ready; while they run, other threads have the interpreter.
        """
        started = time.perf_counter()
        jobs = [job for job in batch if not job.future.done()]
        if not jobs:
            return ComputedBatch((), {}, started, 0.0)
        names = EXPLAINED if any(job.explain for job in jobs) else ALWAYS
        model_inputs = self._model_inputs(jobs)
        before_run()
        outputs = self._outputs(model_inputs, sum(job.num_rows for job in jobs), names)
        return ComputedBatch(jobs, outputs, started, time.perf_counter() - started)

    def answers(self, computed: ComputedBatch) -> list[Delivery]:
        """An answer for each request, in order; what was computed is counted."""
        if not computed.jobs:
            return []
        class_index, confidence = most_probable(computed.outputs["probabilities"])
        self._metrics.count_batch(len(computed.jobs), computed.outputs["experts"], class_index, confidence)
        self._throughput.observe(len(class_index), computed.seconds)
        self._metrics.capacity.set(self._throughput.rows_per_second)
        self._num_batches += 1
        of_batch = (computed.seconds, self._num_batches, len(class_index))
        classes, confidences = class_index.tolist(), confidence.tolist()
        deliveries = []
        for job, span in zip(computed.jobs, spans_of([job.num_rows for job in computed.jobs]), strict=True):
            share, queued = BatchSlice(computed.outputs, span), computed.started - job.submitted
            deliveries.append((job, Answer(share, classes[span], confidences[span], queued, *of_batch)))
        return deliveries

    def _model_inputs(self, batch: Sequence[Job]) -> Tensors:
        """One lookup for all who name known nodes: for many rows it takes little longer than for one."""
        rows = [job.model_inputs.rows for job in batch if isinstance(job.model_inputs, KnownRows)]
        found = self._look_up(_joined(rows)) if rows else {}
        if len(rows) == len(batch):
            return found
        shares = iter([BatchSlice(found, span) for span in spans_of(list(map(len, rows)))])
        parts = [
            next(shares) if isinstance(job.model_inputs, KnownRows) else job.model_inputs for job in batch
        ]
        return stack(parts, self._padding)

    def _outputs(self, model_inputs: Tensors, num_rows: int, names: Sequence[str]) -> Tensors:
        parts = []
        for start in range(0, num_rows, self._max_rows):
            end = min(start + self._max_rows, num_rows)
            self._metrics.count_execution(end - start)
            parts.append(self._run({name: rows[start:end] for name, rows in model_inputs.items()}, names))
        return stack(parts)


def _joined(parts: Sequence[list[int] | Integers]) -> Integers:
    """All of them in one array; of many short lists, numpy would make as many arrays."""
    if all(isinstance(part, list) for part in parts):
        return np.array(list(chain.from_iterable(parts)), np.int64)
    return np.concatenate(parts, dtype=np.int64)
