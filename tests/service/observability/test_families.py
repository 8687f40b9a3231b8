import sys
import threading
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from rbm_service.observability.families import Histogram
from rbm_service.observability.metrics import counter, gauge

NUM_THREADS, NUM_STEPS = 4, 20_000


@contextmanager
def eager_threads():
    """Threads that take turns as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def in_threads(step):
    def repeat():
        for _ in range(NUM_STEPS):
            step()

    threads = [threading.Thread(target=repeat) for _ in range(NUM_THREADS)]
    with eager_threads():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def counters():
    class Declared:
        things_total = counter("Things", "model_name", "version")

    return Declared.things_total


def values_of(family):
    return {tuple(sample.labels.values()): sample.value for sample in family.collect().samples}


def test_a_counter_is_named_as_prometheus_wants_it(counters):
    counters.labels("tiny", 1).inc(2)
    metric = counters.collect()
    assert (metric.name, metric.type) == ("things", "counter")
    assert [(sample.name, sample.value) for sample in metric.samples] == [("things_total", 2)]


def test_what_was_counted_under_the_same_labels_before_goes_on(counters):
    counters.labels("tiny", 1).inc()
    counters.labels("tiny", "1").inc()
    assert values_of(counters) == {("tiny", "1"): 2}


def test_a_gauge_may_be_a_function_that_is_asked_when_somebody_reads():
    class Declared:
        waiting = gauge("Waiting")

    waiting = []
    Declared.waiting.labels().value = lambda: len(waiting)
    waiting.append("a request")
    assert values_of(Declared.waiting) == {(): 1}
    assert Declared.waiting.collect().type == "gauge"


def test_series_are_removed_by_some_of_their_labels_but_those_to_keep(counters):
    kept = counters.labels("tiny", 1)
    counters.labels("tiny", 2)
    counters.labels("other", 2)
    counters.remove([kept], model_name="tiny")
    assert set(values_of(counters)) == {("tiny", "1"), ("other", "2")}
    counters.remove(model_name="other", version=2)
    counters.remove(model_name="tiny", layer=0)  # it has no such label
    assert set(values_of(counters)) == {("tiny", "1")}


def test_what_is_counted_in_a_series_that_was_removed_is_not_shown(counters):
    number = counters.labels("tiny", 1)
    counters.remove(model_name="tiny")
    number.inc()
    assert values_of(counters) == {}


def test_threads_that_add_in_place_lose_nothing(counters):
    number = counters.labels("tiny", 1)

    def add():
        number.value += 1

    in_threads(add)
    in_threads(number.inc)
    assert number.value == 2 * NUM_THREADS * NUM_STEPS


def test_threads_that_observe_lose_nothing():
    histogram = Histogram([0.1, 0.5])
    in_threads(lambda: histogram.observe(0.25))
    assert histogram.counts == [0, NUM_THREADS * NUM_STEPS, 0]
    assert histogram.total == 0.25 * NUM_THREADS * NUM_STEPS


def test_series_may_come_and_go_while_somebody_reads(counters):
    def come_and_go():
        version = threading.get_ident()
        counters.labels("tiny", version).inc()
        counters.collect()
        counters.remove(version=version)

    in_threads(come_and_go)
    assert values_of(counters) == {}


def test_a_registry_knows_the_names_and_refuses_one_that_is_given_twice(metrics):
    names = {family.name for family in metrics.registry.restricted_registry(["rbm_queue_rows"]).collect()}
    assert names <= {"rbm_queue_rows"}
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        metrics.registry.register(metrics)
    assert isinstance(metrics.registry, CollectorRegistry)
