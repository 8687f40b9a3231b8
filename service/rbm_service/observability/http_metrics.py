"""The metrics of one route, bound once: finding a label child costs more than incrementing it."""

import functools
from collections import Counter
from functools import partial

from rbm_service.observability.metrics import Metrics


class RouteMetrics:
    """The children of one route's metrics.

    Attributes:
        answers: takes the method, the status and the seconds of each request that is answered.
    """

    def __init__(self, metrics: Metrics, route: str) -> None:
        self.num_in_progress = 0
        metrics.http_in_progress.labels(route).set_function(lambda: self.num_in_progress)
        self._durations = metrics.http_duration.labels(route)
        self._requests = functools.cache(partial(metrics.http_requests.labels, route))
        self.answers = metrics.journal.page(self._settle)

    def _settle(self, entries: list[tuple[str, int, float]]) -> None:
        for (method, status), number in Counter((method, status) for method, status, _ in entries).items():
            self._requests(method, status).inc(number)
        self._durations.observe([seconds for _, _, seconds in entries])
