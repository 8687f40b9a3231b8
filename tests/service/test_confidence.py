import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from rbm_service.confidence import EDGES, NAME, Confidence

LABELS = ["red", "green", "blue"]


@pytest.fixture
def confidence():
    return Confidence()


@pytest.fixture
def registry(confidence):
    registry = CollectorRegistry()
    registry.register(confidence)
    return registry


def lines_of(registry):
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_batches_are_told_as_the_histogram_of_the_library_would_tell_their_rows(confidence, registry):
    theirs = CollectorRegistry()
    histogram = Histogram(
        NAME,
        "Probability of the most probable class",
        ("model_name", "label"),
        buckets=EDGES.tolist(),
        registry=theirs,
    )
    for label in LABELS:
        histogram.labels("tiny", label)
    confidence.expect("tiny", LABELS)
    generator = np.random.default_rng(0)
    for _ in range(5):
        # Sixteenths, so that sums are exact in whatever order; and the edges themselves.
        values = generator.integers(0, 17, 40) / 16
        values[:3] = 0.5, 1.0, 0.0
        classes = generator.integers(0, 2, 40)  # the last class is never given
        confidence.count("tiny", LABELS, classes, values.astype(np.float32))
        for index, value in zip(classes.tolist(), values.tolist(), strict=True):
            histogram.labels("tiny", LABELS[index]).observe(value)
    assert lines_of(registry) == lines_of(theirs)


def test_what_was_counted_of_a_class_goes_on_with_the_next_model(confidence, registry):
    confidence.count("tiny", LABELS, np.array([2]), np.array([0.5]))
    confidence.expect("tiny", ["blue", "black"])
    confidence.count("tiny", ["blue", "black"], np.array([0]), np.array([0.5]))
    value = registry.get_sample_value
    assert value("rbm_confidence_count", {"model_name": "tiny", "label": "blue"}) == 2


def test_a_class_or_a_model_can_be_forgotten(confidence, registry):
    for name in ("tiny", "other"):
        confidence.expect(name, LABELS)
    confidence.forget("tiny", "red")
    confidence.forget_model("other")
    series = {tuple(sample.labels.values())[:2] for family in registry.collect() for sample in family.samples}
    assert series == {("tiny", "green"), ("tiny", "blue")}
