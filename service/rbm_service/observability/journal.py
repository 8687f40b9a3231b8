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
Settle = Callable[[list[Any]], None]


class Page:
    """Entries of one kind that are not summed up yet; any thread may note."""

    __slots__ = ("_entries", "_is_open", "_journal", "_settle")

    def __init__(self, journal: "Journal", settle: Settle) -> None:
        self._entries: deque[Any] = deque()
        self._is_open = False  # the journal has it among those that hold something
        self._journal = journal
        self._settle = settle

    def note(self, entry: object, weight: int = 1) -> None:
        """Keep an entry, which nobody changes from now on; a long one weighs as much as so many others."""
        journal = self._journal
        self._entries.append(entry)
        if not self._is_open:
            self._is_open = True
            journal.open_pages.append(self)
        journal.weight += weight
        if journal.weight >= MOST_ENTRIES:
            journal.settle()

    def settle(self) -> None:
        """Sum up everything noted so far."""
        self._is_open = False  # before anything is taken: what is noted from now on opens it again
        entries = [self._entries.popleft() for _ in range(len(self._entries))]
        if entries:
            self._settle(entries)


class Journal:
    """All pages; any thread may settle them."""

    def __init__(self) -> None:
        self.open_pages: deque[Page] = deque()
        self.weight = 0  # of all entries; roughly, where two threads note at once
        self._lock = threading.Lock()

    def page(self, settle: Settle) -> Page:
        """For one kind of entries; `settle` sums them up, in the order in which they were noted."""
        return Page(self, settle)

    def settle(self) -> None:
        """Sum up everything noted so far."""
        with self._lock:
            self.weight = 0
            for _ in range(len(self.open_pages)):
                self.open_pages.popleft().settle()


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
