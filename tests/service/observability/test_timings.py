import pytest

from rbm_service.observability.timings import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """Advances by ten milliseconds every time it is read."""
    times = iter(range(100))
    monkeypatch.setattr("rbm_service.observability.timings.perf_counter", lambda: next(times) / 100)


def test_stages_are_what_passed_between_laps_or_what_was_measured_elsewhere(clock):
    watch = Stopwatch()
    watch.lap("parse")
    watch.take({"queue": 0.5, "inference": 0.25})
    watch.lap("serialize")
    assert watch.seconds == pytest.approx({"parse": 0.01, "queue": 0.5, "inference": 0.25, "serialize": 0.01})


def test_the_header_is_in_milliseconds_and_ends_with_the_total(clock):
    watch = Stopwatch()
    watch.lap("parse")
    watch.lap("position_lookup")
    watch.take({"queue": 0.5, "inference": 0.25})
    watch.lap("serialize")
    assert watch.header() == (
        "parse;dur=10.000, position_lookup;dur=10.000, queue;dur=500.000, inference;dur=250.000, "
        "serialize;dur=10.000, total;dur=40.000"
    )
