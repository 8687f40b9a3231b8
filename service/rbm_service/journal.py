"""What happens on the hot path, noted at the price of an append and summed up when somebody reads it.

A counter of prometheus_client takes a microsecond for each step, a histogram more; a request would spend a
quarter of its time on them.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import RestrictedRegistry

MOST_ENTRIES: Final = 512  # then they are summed up though nobody reads: in less time than a batch takes


class Account(Protocol):
    """Where entries of one kind are summed up."""

    def settle(self, entries: list[Any]) -> None:
        """Add these, in the order in which they were noted."""


class Journal:
    """Entries that are not summed up yet; any thread may note, and any may settle."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Account, Any]] = deque()
        self._lock = threading.Lock()

    def note(self, account: Account, entry: object) -> None:
        """Keep an entry for its account."""
        self._entries.append((account, entry))
        if len(self._entries) >= MOST_ENTRIES:
            self.settle()

    def settle(self) -> None:
        """Sum up everything noted so far."""
        with self._lock:
            by_account: dict[Account, list[Any]] = {}
            for _ in range(len(self._entries)):
                account, entry = self._entries.popleft()
                by_account.setdefault(account, []).append(entry)
            for account, entries in by_account.items():
                account.settle(entries)


class Tally:
    """The account of a counter; an entry is what it rises by."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def settle(self, entries: list[int]) -> None:
        """See `Account`."""
        self._counter.inc(sum(entries))


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
