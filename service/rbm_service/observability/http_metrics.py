"""The metrics of one route."""

from bisect import bisect_left

from rbm_service.observability.families import Number
from rbm_service.observability.metrics import Metrics


class RouteMetrics:
    """The series of one route, found once.

    Attributes:
        in_progress: requests that are being answered; whoever answers adds and takes away.
    """

    __slots__ = ("_duration", "_family", "_requests", "_route", "in_progress")

    def __init__(self, metrics: Metrics, route: str) -> None:
        self._route = route
        self._family = metrics.http_requests
        self._duration = metrics.http_duration.labels(route)
        self._requests: dict[tuple[str, int], Number] = {}
        self.in_progress = metrics.http_in_progress.labels(route)

    def count(self, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered, and the time from its headers to the end of its answer."""
        number = self._requests.get((method, status))
        if number is None:
            number = self._requests[method, status] = self._family.labels(self._route, method, status)
        number.value += 1
        duration = self._duration  # observed in place: a call would cost as much again
        duration.counts[bisect_left(duration.edges, seconds)] += 1
        duration.total += seconds
