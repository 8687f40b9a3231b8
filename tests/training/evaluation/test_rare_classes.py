import numpy as np
import pytest

from rbm_training.evaluation.rare_classes import rare_classes


def shares_told(*sizes):
    labels, even = np.repeat(np.arange(len(sizes)), sizes), np.full((sum(sizes), len(sizes)), 1 / len(sizes))
    told = rare_classes(labels, even, even, even, [f"class {index}" for index in range(len(sizes))])
    return [(each["name"], each["num_nodes"], each["share"]) for each in told]


def test_classes_of_less_than_half_an_even_share_are_told_the_rarest_first():
    assert shares_told(76, 12, 2, 10, 0) == [("class 2", 2, 0.02)]
    assert shares_told(75, 25) == []
    assert shares_told(76, 24) == [("class 1", 24, 0.24)]
    assert shares_told(90, 3, 7) == [("class 1", 3, 0.03), ("class 2", 7, 0.07)]


def test_the_area_is_one_where_all_are_found_first_and_the_share_where_nothing_is_told_apart():
    labels = np.repeat([0, 1], [95, 5])
    right = np.stack([1.0 - labels, labels], axis=1)
    even, wrong = np.full((100, 2), 0.5), right[:, ::-1]
    [told] = rare_classes(labels, right, even, wrong, ("often", "rare"))
    assert told["student"] == 1
    assert told["teacher"] == pytest.approx(0.05)
    assert told["baseline"] == pytest.approx(0.05)
