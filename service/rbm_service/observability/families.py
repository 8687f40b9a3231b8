"""Metrics as plain numbers, rendered when somebody reads them.

A step of prometheus_client's counters takes four calls and a lock. Here it is `number.value += 1`, in any
thread: CPython changes threads at calls and at the end of loops only, so that an addition in place of plain
numbers is never interrupted. (What is added must be known before: `x.value += f()` reads x, then calls.)
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from prometheus_client import Metric

from rbm_service.observability.histogram import Sample

Kind = Literal["counter", "gauge", "histogram"]


class Series(Protocol):
    """What is known under one set of labels."""

    def samples(self) -> Iterator[Sample]:
        """Yield what Prometheus reads."""


S = TypeVar("S", bound=Series)


class Number:
    """A counter or a gauge; `value` may also be a function, which is asked whenever somebody reads."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = 0

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.value += amount

    def set(self, value: float | Callable[[], float]) -> None:
        """Replace it."""
        self.value = value

    def samples(self) -> Iterator[Sample]:
        """Yield the number."""
        yield "", {}, self.value() if callable(self.value) else self.value


class Family(Generic[S]):
    """One metric: a series for each set of label values. Any thread may ask for one while another reads.

    Args:
        name: as Prometheus shows it, with `_total` where it is a counter.
        new: makes a series in which nothing was counted.
    """

    def __init__(
        self, kind: Kind, name: str, documentation: str, label_names: tuple[str, ...], new: Callable[[], S]
    ) -> None:
        self._description: Final = (name.removesuffix("_total"), documentation, kind)
        self._name = name
        self._label_names = label_names
        self._new = new
        self._series: dict[tuple[str, ...], S] = {}

    def labels(self, *values: object) -> S:
        """Return the series of some labels, with what was counted under them before."""
        key = tuple(map(str, values))
        assert len(key) == len(self._label_names), f"expected {self._label_names}, got {key}"
        return self._series.get(key) or self._series.setdefault(key, self._new())

    def remove(self, keep: Collection[S] = (), /, **labels: object) -> None:
        """Drop the series that have all of these labels, but those to keep; what is still counted in a
        dropped one is not shown."""
        if not labels.keys() <= set(self._label_names):
            return
        wanted = {self._label_names.index(name): str(value) for name, value in labels.items()}
        for key, series in list(self._series.items()):
            if series not in keep and all(key[place] == value for place, value in wanted.items()):
                self._series.pop(key, None)

    def collect(self) -> Metric:
        """Return all series as they are now."""
        metric = Metric(*self._description)
        for key, series in list(self._series.items()):
            labels = dict(zip(self._label_names, key, strict=True))
            for suffix, more, value in series.samples():
                metric.add_sample(self._name + suffix, {**labels, **more}, value)
        return metric
