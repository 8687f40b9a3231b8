import numpy as np
import pytest

from rbm_training.evaluation.rare_classes import rare_classes


def test_classes_of_less_than_a_tenth_are_told_the_rarest_first():
    labels = np.repeat([0, 1, 2, 3], [88, 2, 0, 10])
    even = np.full((100, 4), 0.25)
    told = rare_classes(labels, even, even, even, ("a", "b", "c", "d"))
    assert [(each["name"], each["num_nodes"], each["share"]) for each in told] == [("b", 2, 0.02)]
    assert rare_classes(np.repeat([0, 1], 5), even[:10], even[:10], even[:10], ("a", "b")) == []


def test_the_area_is_one_where_all_are_found_first_and_the_share_where_nothing_is_told_apart():
    labels = np.repeat([0, 1], [95, 5])
    right = np.stack([1.0 - labels, labels], axis=1)
    even, wrong = np.full((100, 2), 0.5), right[:, ::-1]
    [told] = rare_classes(labels, right, even, wrong, ("often", "rare"))
    assert told["student"] == 1
    assert told["teacher"] == pytest.approx(0.05)
    assert told["baseline"] == pytest.approx(0.05)
