import threading

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from rbm_service.observability.histogram import BulkHistogram

NAME, TEXT, LABELS = "sureness", "How sure", ("model_name", "label")
EDGES = [tenths / 10 for tenths in range(1, 11)]
CLASSES = ["red", "green", "blue"]


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def histogram(registry):
    return BulkHistogram(NAME, TEXT, LABELS, EDGES, registry)


def lines_of(registry):
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def labels_in(registry):
    return {tuple(sample.labels.values())[:2] for family in registry.collect() for sample in family.samples}


def test_numbers_are_told_as_the_histogram_of_the_library_would_tell_them(histogram, registry):
    theirs = CollectorRegistry()
    reference = Histogram(NAME, TEXT, LABELS, buckets=EDGES, registry=theirs)
    series = [histogram.labels("tiny", label) for label in CLASSES]
    for label in CLASSES:
        reference.labels("tiny", label)
    generator = np.random.default_rng(0)
    for _ in range(5):
        # Sixteenths, so that sums are exact in whatever order; and the edges themselves.
        values = generator.integers(0, 17, 40) / 16
        values[:3] = 0.5, 1.0, 0.0
        classes = generator.integers(0, 2, 40)  # the last class is never given
        histogram.observe_each(series, classes, values.astype(np.float32))
        for index, value in zip(classes.tolist(), values.tolist(), strict=True):
            reference.labels("tiny", CLASSES[index]).observe(value)
    assert lines_of(registry) == lines_of(theirs)


def test_one_series_takes_a_list(histogram, registry):
    series = histogram.labels("tiny", "red")
    series.observe([0.25, 0.5, 7.0])
    series.observe([])
    assert (series.count, series.total) == (3, 7.75)
    labels = {"model_name": "tiny", "label": "red"}
    assert registry.get_sample_value(f"{NAME}_bucket", labels | {"le": "0.5"}) == 2
    assert registry.get_sample_value(f"{NAME}_bucket", labels | {"le": "+Inf"}) == 3


def test_what_was_observed_under_the_same_labels_before_goes_on(histogram, registry):
    histogram.labels("tiny", "blue").observe([0.5])
    histogram.labels("tiny", "blue").observe([0.5])
    assert registry.get_sample_value(f"{NAME}_count", {"model_name": "tiny", "label": "blue"}) == 2


def test_series_can_be_removed_by_some_of_their_labels(histogram, registry):
    for name in ("tiny", "other"):
        for label in CLASSES:
            histogram.labels(name, label)
    histogram.remove_by_labels({"model_name": "tiny", "label": "red"})
    histogram.remove_by_labels({"model_name": "other"})
    assert labels_in(registry) == {("tiny", "green"), ("tiny", "blue")}


def test_its_name_cannot_be_given_twice(histogram, registry):
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Histogram(NAME, TEXT, registry=registry)


def test_threads_that_observe_lose_nothing(histogram, registry):
    series = histogram.labels("tiny", "red")

    def observe():
        for _ in range(200):
            series.observe([0.5] * 10)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert series.count == 8000
