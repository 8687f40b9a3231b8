"""A batch through the engine: rows stacked, run, counted, and taken apart into an answer for each request."""

import time
from collections.abc import Callable, Sequence

from rbm_service.batches import ALWAYS, EXPLAINED, Answer, Job, Padding, most_probable, split, stack
from rbm_service.capacity import Pace
from rbm_service.model_metrics import ModelMetrics
from rbm_service.shapes import Tensors

Run = Callable[[Tensors, Sequence[str]], Tensors]


class Forward:
    """Everything about a batch that can fail; never runs twice at the same time.

    Args:
        pace: learns what batches take.
        max_rows: most rows in one run of the engine; a larger batch takes several.
    """

    def __init__(self, run: Run, metrics: ModelMetrics, pace: Pace, max_rows: int, padding: Padding) -> None:
        self._run = run
        self._metrics = metrics
        self._pace = pace
        self._max_rows = max_rows
        self._padding = padding
        self._num_batches = 0

    def __call__(self, batch: Sequence[Job]) -> list[Answer]:
        """An answer for each request, in order."""
        started = time.perf_counter()
        sizes = [job.num_rows for job in batch]
        names = EXPLAINED if any(job.explain for job in batch) else ALWAYS
        outputs = self._outputs(stack([job.feeds for job in batch], self._padding), sum(sizes), names)
        outputs = {**outputs, **most_probable(outputs["probabilities"])}
        seconds = time.perf_counter() - started
        self._record(len(batch), sum(sizes), seconds, outputs)
        self._num_batches += 1
        of_batch = (self._num_batches, sum(sizes))
        shares = zip(batch, split(outputs, sizes), strict=True)
        return [Answer(share, started - job.submitted, seconds, *of_batch) for job, share in shares]

    def _outputs(self, feeds: Tensors, num_rows: int, names: Sequence[str]) -> Tensors:
        parts = []
        for start in range(0, num_rows, self._max_rows):
            end = min(start + self._max_rows, num_rows)
            self._metrics.count_execution(end - start)
            parts.append(self._run({name: rows[start:end] for name, rows in feeds.items()}, names))
        return stack(parts)

    def _record(self, num_requests: int, num_rows: int, seconds: float, outputs: Tensors) -> None:
        self._metrics.requests.inc(num_requests)
        self._metrics.rows.inc(num_rows)
        self._metrics.count_experts(outputs["experts"])
        self._metrics.count_predictions(outputs["class_index"], outputs["confidence"])
        self._pace.observe(num_rows, seconds)
        self._metrics.capacity.set(self._pace.rows_per_second)
