"""A shadow: another version that answers a share of the requests once more, for nobody but the metrics.

What it costs a request is a look at the dice and a place in a short queue, after the answer has gone out. All
else happens in a thread of the shadow's own. Nothing that goes wrong there reaches the model in service.
"""

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import eq
from threading import BoundedSemaphore
from typing import Final

import numpy as np
import structlog

from rbm_bundle import Bundle
from rbm_service.inference.preprocessing import NodeQuery, encode, look_up
from rbm_service.observability.metrics import Metrics
from rbm_service.runtime.engine import Engine
from rbm_service.runtime.shapes import KnownRows

MAX_WAITING: Final = 16  # requests: a shadow that is slower than what it follows sees fewer of them

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that has its answer: what was asked, and the class that a version gave each row."""

    query: NodeQuery
    labels: Sequence[str]
    version: int


class Shadow:
    """A version with an engine of its own; belongs to one event loop, as the slot does that it follows."""

    def __init__(
        self,
        name: str,
        version: int,
        share: float,
        bundle: Bundle,
        engine: Engine,
        metrics: Metrics,
        max_rows: int,
    ) -> None:
        self.name = name
        self.version = version
        self.share = share
        self._bundle = bundle
        self._engine = engine
        self._metrics = metrics
        self._max_rows = max_rows
        self._places = BoundedSemaphore(MAX_WAITING)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-shadow")
        self._closed = False

    def samples(self, version: int) -> bool:
        """Whether a request that this version answers is one for the shadow; never when that is its own."""
        return version != self.version and random.random() < self.share

    async def follow(self, answered: Answered) -> None:
        """Queue a request; when there is no place, it is dropped and counted. Waits for nothing."""
        if self._closed:
            return
        if self._places.acquire(blocking=False):
            self._thread.submit(self._score, answered)
        else:
            self._count("dropped")

    def close(self) -> None:
        """Answer no more: what waits is let go, what is being answered ends by itself."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _score(self, answered: Answered) -> None:
        started = time.perf_counter()
        try:
            labels = self._labels_of(answered.query)
        except Exception as error:  # noqa: BLE001 - the unit of work is one request of the shadow
            self._count("failed")
            log.warning("shadow failed", model=self.name, shadow_version=self.version, reason=str(error))
        else:
            self._metrics.shadow_duration.labels(self.name, self.version).observe(
                time.perf_counter() - started
            )
            self._count("scored")
            self._count_rows(answered, labels)
        finally:
            self._places.release()

    def _labels_of(self, query: NodeQuery) -> list[str]:
        """The shadow's own label of each row; its bundle may know other nodes, features and positions."""
        model_inputs = encode(query, self._bundle, self._max_rows).model_inputs
        tensors = (
            look_up(self._bundle, np.asarray(model_inputs.rows))
            if isinstance(model_inputs, KnownRows)
            else model_inputs
        )
        probabilities = self._engine.run(tensors, ("probabilities",))["probabilities"]
        return [self._bundle.manifest.labels[index] for index in probabilities.argmax(axis=1).tolist()]

    def _count(self, outcome: str) -> None:
        self._metrics.shadow_requests.labels(self.name, self.version, outcome).inc()

    def _count_rows(self, answered: Answered, labels: Sequence[str]) -> None:
        num_agreeing = sum(map(eq, answered.labels, labels))
        for outcome, num_rows in (("agree", num_agreeing), ("differ", len(labels) - num_agreeing)):
            self._metrics.shadow_rows.labels(self.name, self.version, answered.version, outcome).inc(num_rows)
