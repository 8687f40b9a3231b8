import sys
import threading

import pytest
from prometheus_client import Counter, generate_latest

from rbm_service.observability.journal import MOST_ENTRIES, Journal, SettledRegistry


class Listener:
    """Remembers what it was given to sum up, and in how many pieces."""

    def __init__(self):
        self.pieces = []

    def __call__(self, entries):
        self.pieces.append(entries)

    @property
    def entries(self):
        return [entry for piece in self.pieces for entry in piece]


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def registry(journal):
    return SettledRegistry(journal)


@pytest.fixture
def things(journal, registry):
    counter = Counter("things", "Things", registry=registry)
    return journal.page(lambda entries: counter.inc(sum(entries)))


def test_entries_are_summed_up_by_kind_and_in_order_when_they_are_settled(journal):
    one, other = Listener(), Listener()
    pages = journal.page(one), journal.page(other)
    for number in range(3):
        pages[0].note(number)
        pages[1].note(-number)
    assert one.pieces == []
    journal.settle()
    journal.settle()
    assert (one.pieces, other.pieces) == ([[0, 1, 2]], [[0, -1, -2]])


def test_many_are_settled_though_nobody_reads(journal):
    listener = Listener()
    page = journal.page(listener)
    for number in range(MOST_ENTRIES + 1):
        page.note(number)
    assert [len(piece) for piece in listener.pieces] == [MOST_ENTRIES]


def things_in(registry):
    lines = generate_latest(registry).decode().splitlines()
    (line,) = [line for line in lines if line.startswith("things_total ")]
    return float(line.split()[1])


@pytest.mark.parametrize(
    "read",
    [
        lambda registry: registry.get_sample_value("things_total"),
        things_in,
        lambda registry: things_in(registry.restricted_registry(["things_total"])),
    ],
)
def test_whoever_reads_sees_what_was_noted_until_then(registry, things, read):
    things.note(2)
    assert read(registry) == 2
    things.note(3)
    assert read(registry) == 5


def test_threads_that_note_and_read_lose_nothing_and_count_nothing_twice(registry, things):
    def note():
        for _ in range(5000):
            things.note(1)

    threads = [threading.Thread(target=note) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            registry.get_sample_value("things_total")
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert registry.get_sample_value("things_total") == 15000
