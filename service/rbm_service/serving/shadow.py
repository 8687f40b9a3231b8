"""A shadow: another version that answers a share of the requests once more, for nobody but the metrics.

What it costs a request is a look at the dice and a place in a short queue, after the answer has gone out. All
else happens in a thread of the shadow's own. Nothing that goes wrong there reaches the model in service.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq
from threading import BoundedSemaphore
from typing import Final

import structlog

from rbm_bundle import Bundle
from rbm_service.errors import reason_of
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.preprocessing import NodeQuery, encode
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ShadowMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.serving.background import BackgroundThread

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
        self._gather = InputGatherer(bundle)
        self._engine = engine
        self.metrics = ShadowMetrics(metrics, name, version)
        self._max_rows = max_rows
        self._places = BoundedSemaphore(MAX_WAITING)
        self._thread = BackgroundThread("rbm-shadow")
        self._closed = False

    def samples(self, version: int) -> bool:
        """Whether a request that this version answers is one for the shadow; never when that is its own."""
        return version != self.version and random.random() < self.share

    async def follow(self, answered: Answered) -> None:
        """Queue a request; when there is no place, it is dropped and counted. Waits for nothing."""
        if self._closed:
            return
        if not self._places.acquire(blocking=False):
            self.metrics.count("dropped")
            return
        try:
            self._thread.submit(partial(self._score, answered))
        except RuntimeError:  # no thread can be started at the moment
            self._places.release()
            self.metrics.count("dropped")

    def close(self) -> None:
        """Answer no more: what waits is let go, what is being answered ends by itself and counts no more."""
        self._closed = True
        self._thread.close()

    def _score(self, answered: Answered) -> None:
        try:
            if not self._closed:
                self._compare(answered)
        except Exception as error:  # noqa: BLE001 - the unit of work is one request of the shadow
            self.metrics.count("failed")
            reason = reason_of(error)
            log.warning("shadow failed", model=self.name, shadow_version=self.version, reason=reason)
        finally:
            self._places.release()

    def _compare(self, answered: Answered) -> None:
        started = time.perf_counter()
        labels = self._labels_of(answered.query)
        if self._closed:
            return
        seconds, num_agreeing = time.perf_counter() - started, sum(map(eq, answered.labels, labels))
        self.metrics.count_scored(seconds, answered.version, num_agreeing, len(labels) - num_agreeing)

    def _labels_of(self, query: NodeQuery) -> list[str]:
        """The shadow's own label of each row; its bundle may know other nodes, features and positions."""
        rows = encode(query, self._bundle, self._max_rows)
        probabilities = self._engine.run(self._gather.inputs_of([rows]), ("probabilities",))["probabilities"]
        return [self._bundle.manifest.labels[index] for index in probabilities.argmax(axis=1).tolist()]
