from functools import partial

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as TheirHistogram

from rbm_service.observability.families import Histogram, observe_each
from rbm_service.observability.metrics import Metrics, histogram

NAME, TEXT, LABELS = "sureness", "How sure", ("model_name", "label")
EDGES = [tenths / 10 for tenths in range(1, 11)]
CLASSES = ["red", "green", "blue"]


class OneFamily:
    """A collector of one metric."""

    def __init__(self, family):
        self.family = family

    def collect(self):
        yield self.family.collect()


@pytest.fixture
def family():
    class Declared:
        sureness = histogram(partial(Histogram, EDGES), TEXT, *LABELS)

    return Declared.sureness


def lines_of(registry):
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@pytest.mark.parametrize("is_bulk", [False, True])
def test_numbers_are_told_as_the_histogram_of_the_library_would_tell_them(family, is_bulk):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    ours.register(OneFamily(family))
    reference = TheirHistogram(NAME, TEXT, LABELS, buckets=EDGES, registry=theirs)
    histograms = [family.labels("tiny", label) for label in CLASSES]
    for label in CLASSES:
        reference.labels("tiny", label)
    generator = np.random.default_rng(0)
    for _ in range(5):
        # Sixteenths, so that sums are exact in whatever order; and the edges themselves.
        values = generator.integers(0, 17, 40) / 16
        values[:3] = 0.5, 1.0, 0.0
        classes = generator.integers(0, 2, 40)  # the last class is never given
        if is_bulk:
            observe_each(histograms, classes, values.astype(np.float32))
        for index, value in zip(classes.tolist(), values.tolist(), strict=True):
            reference.labels("tiny", CLASSES[index]).observe(value)
            if not is_bulk:
                histograms[index].observe(value)
    assert lines_of(ours) == lines_of(theirs)


def test_the_count_is_that_of_the_buckets_even_while_a_number_is_being_added(family):
    histogram = family.labels("tiny", "red")
    histogram.counts[3] += 1  # its sum has not been added yet
    samples = {sample.name + sample.labels.get("le", ""): sample.value for sample in family.collect().samples}
    assert (samples["sureness_count"], samples["sureness_bucket+Inf"], samples["sureness_sum"]) == (1, 1, 0)


def test_every_histogram_of_the_service_has_buckets_that_rise():
    families = [metric for metric in Metrics().collect() if metric.type == "histogram"]
    assert len(families) == 6
