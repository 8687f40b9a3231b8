"""A shadow: another version that answers a share of the requests once more, for nobody but the metrics.

What it costs a request is a look at the dice and a place in a short queue, after the answer has gone out. All
else happens in a thread of the shadow's own. Nothing that goes wrong there reaches the model in service.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from operator import eq
from threading import BoundedSemaphore
from typing import Final

import structlog

from rbm_bundle import Bundle, ShadowSpec
from rbm_service.errors import reason_of
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.preprocessing import encode
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ShadowMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.serving.background import BackgroundThread

MAX_WAITING: Final = 16  # requests: a shadow that is slower than what it follows sees fewer of them

log = structlog.get_logger(__name__)


class Shadow:
    """A version with an engine of its own; belongs to one event loop, as the model does that it follows."""

    def __init__(
        self, name: str, spec: ShadowSpec, bundle: Bundle, engine: Engine, metrics: Metrics, max_rows: int
    ) -> None:
        self.name = name
        self.spec = spec
        self._bundle = bundle
        self._gather = InputGatherer(bundle)
        self._engine = engine
        self.metrics = ShadowMetrics(metrics, name, spec.version)
        self._max_rows = max_rows
        self._places = BoundedSemaphore(MAX_WAITING)
        self._thread = BackgroundThread("rbm-shadow")
        self._closed = False

    def samples(self, version: int) -> bool:
        """Whether a request that this version answers is one for the shadow; never when that is its own."""
        return version != self.spec.version and random.random() < self.spec.share

    async def follow(self, query: NodeQuery, labels: Sequence[str], version: int) -> None:
        """Queue a query to which a version has given these labels, one a row; waits for nothing.

        Where there is no place, the query is dropped and counted.
        """
        if self._closed:
            return
        if self._places.acquire(blocking=False):
            try:
                self._thread.submit(self._score, query, labels, version)
                return
            except RuntimeError:  # no thread can be started at the moment
                self._places.release()
        self.metrics.count("dropped")

    def close(self) -> None:
        """Answer no more: what waits is let go, what is being answered ends by itself and counts no more."""
        self._closed = True
        self._thread.close()

    def _score(self, query: NodeQuery, labels: Sequence[str], version: int) -> None:
        try:
            if self._closed:
                return
            started, own_labels = time.perf_counter(), self._bundle.manifest.labels
            # Its bundle may know other nodes, features and fields of records. It answers all rows or none.
            query = replace(query, on_unknown="error")
            rows = encode(query, self._bundle, self._max_rows, self._engine.records)
            outputs = self._engine.run(self._gather.inputs_of([rows]), ("probabilities",))
            found = [own_labels[index] for index in outputs["probabilities"].argmax(axis=1).tolist()]
            if not self._closed:
                seconds, num_agreeing = time.perf_counter() - started, sum(map(eq, labels, found))
                self.metrics.count_scored(seconds, version, num_agreeing, len(found) - num_agreeing)
        except Exception as error:  # noqa: BLE001 - the unit of work is one request of the shadow
            self.metrics.count("failed")
            reason = reason_of(error)
            log.warning("shadow failed", model=self.name, shadow_version=self.spec.version, reason=reason)
        finally:
            self._places.release()
