"""What happens on the hot path, noted at the price of an append and summed up when somebody reads it.

A counter of prometheus_client takes a microsecond for each step, a histogram more; a request would spend a
quarter of its time on them.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import RestrictedRegistry

MOST_ENTRIES: Final = 512  # then they are summed up though nobody reads: in less time than a batch takes
Settle = Callable[[list[Any]], None]  # sums up entries of one kind, in the order in which they were noted


class Journal:
    """Entries that are not summed up yet; any thread may note, and any may settle."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Settle, Any]] = deque()
        self._weight = 0  # of all entries; roughly, where two threads note at once
        self._lock = threading.Lock()

    def note(self, settle: Settle, entry: object, weight: int = 1) -> None:
        """Keep an entry for whoever sums up its kind; a long one weighs as much as so many others."""
        self._entries.append((settle, entry))
        self._weight += weight
        if self._weight >= MOST_ENTRIES:
            self.settle()

    def settle(self) -> None:
        """Sum up everything noted so far."""
        with self._lock:
            self._weight = 0
            by_kind: dict[Settle, list[Any]] = {}
            for _ in range(len(self._entries)):
                settle, entry = self._entries.popleft()
                by_kind.setdefault(settle, []).append(entry)
            for settle, entries in by_kind.items():
                settle(entries)


class SettledRegistry(CollectorRegistry):
    """A registry that settles a journal before it tells anything."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        self._journal.settle()
        yield from super().collect()

    def restricted_registry(self, names: Iterable[str]) -> RestrictedRegistry:
        """Some of it, as it is now."""
        self._journal.settle()
        return super().restricted_registry(names)
