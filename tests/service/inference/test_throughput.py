import math

import pytest

from rbm_service.inference.throughput import UNMEASURED, ThroughputEstimator

TABLE = {1: 1.0, 2: 1.2, 4: 2.0}  # seconds: two rows a second at best


def test_a_batch_between_two_that_were_measured_takes_a_time_between_theirs():
    throughput = ThroughputEstimator(TABLE)
    assert [throughput.seconds_of(num_rows) for num_rows in (1, 2, 3, 4)] == pytest.approx(
        [1.0, 1.2, 1.6, 2.0]
    )


def test_a_batch_larger_than_any_measured_takes_several_passes():
    throughput = ThroughputEstimator(TABLE)
    assert throughput.seconds_of(8) == pytest.approx(4.0)
    assert throughput.seconds_of(11) == pytest.approx(5.6)


def test_before_any_batch_the_pace_is_that_of_the_best_batch_measured():
    throughput = ThroughputEstimator(TABLE)
    assert throughput.rows_per_second == pytest.approx(2)
    assert throughput.seconds_for(10) == pytest.approx(5)


def test_the_estimated_throughput_follows_the_time_of_full_batches():
    throughput = ThroughputEstimator(TABLE)
    for _ in range(100):
        throughput.observe(4, 6.0)
    assert throughput.rows_per_second == pytest.approx(2 / 3)
    for _ in range(100):
        throughput.observe(4, 1.0)
    assert throughput.rows_per_second == pytest.approx(4)


def test_a_batch_that_was_held_up_once_barely_counts():
    throughput = ThroughputEstimator(TABLE)
    throughput.observe(4, 2000.0)
    assert throughput.rows_per_second > 2 / 5


def test_a_small_batch_says_little_about_full_ones():
    throughput = ThroughputEstimator({1: 1.0, 1024: 1.0})
    for _ in range(20):
        throughput.observe(1, 3.0)
    assert throughput.rows_per_second == pytest.approx(1024, rel=0.01)


def test_without_measurements_nothing_takes_time():
    throughput = ThroughputEstimator(UNMEASURED)
    throughput.observe(3, 1.0)
    assert throughput.seconds_for(1000) == 0
    assert throughput.rows_per_second == math.inf
