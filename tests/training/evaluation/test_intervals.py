import math

import numpy as np
import pytest

from rbm_training.evaluation.intervals import lead_error, mean_error, share_interval


def test_the_interval_of_a_share_is_wilsons():
    assert share_interval(0.8, 100) == pytest.approx((0.7112, 0.8666), abs=1e-4)
    assert share_interval(1.0, 5) == pytest.approx((0.5655, 1.0), abs=1e-4)
    assert all(math.isnan(end) for end in share_interval(math.nan, 0))


def test_the_error_of_a_lead_is_that_of_the_paired_difference():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 4000)) < 0.5
    difference = first.astype(float) - second
    assert lead_error(first, second) == pytest.approx(difference.std() / math.sqrt(4000), rel=1e-3)


def test_a_few_nodes_that_all_speak_for_one_side_leave_room_for_chance():
    five = np.ones(5, bool)
    assert lead_error(five, ~five) == pytest.approx(0.2226, abs=1e-4)
    assert lead_error(five, five) > 0


def test_the_error_of_a_mean_over_seeds_keeps_that_of_the_nodes():
    assert mean_error(np.array([0.02]), np.array([0.7])) == pytest.approx(0.02)
    spread = mean_error(np.array([0.02, 0.02]), np.array([0.6, 0.8]))
    assert spread == pytest.approx(math.hypot(0.02, 0.1))
