from random import Random

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from rbm_training.benchmark.statistics import (
    Cell,
    Difference,
    Estimate,
    group_by_cell,
    paired_difference,
    reliability,
)
from tests.training.benchmark.run_lines import HIGH, LOW, inductive_line, run_line, runs_of


def only_cell(lines):
    (cell,) = group_by_cell(lines)
    return cell


def test_a_paired_difference_and_its_interval_are_those_of_a_hand_calculation():
    # Differences 0.01, 0.02, 0.03: mean 0.02, deviation 0.01; t of 2 degrees at 97.5 % is 4.302653.
    found = paired_difference({0: 0.81, 1: 0.72, 2: 0.93}, {0: 0.80, 1: 0.70, 2: 0.90})
    assert found == Difference(pytest.approx(0.02), pytest.approx(0.01 / 3**0.5), 3)
    assert found.half_width == pytest.approx(4.302653 * 0.01 / 3**0.5)


def test_pairing_sees_a_small_lead_that_the_spread_of_the_splits_hides():
    teachers = [0.70, 0.75, 0.80, 0.85]
    leads = [0.010, 0.012, 0.011, 0.009]
    students = [teacher + lead for teacher, lead in zip(teachers, leads, strict=True)]
    found = paired_difference(dict(enumerate(students)), dict(enumerate(teachers)))
    assert found is not None
    # The leads' deviation is 0.00129, t of 3 degrees 3.182: 0.0021, where the splits spread by 0.065.
    assert found.half_width == pytest.approx(3.182446 * 0.00129099 / 2, rel=1e-4)
    assert found.verdict == "better"


def test_only_seeds_that_both_have_are_compared():
    assert paired_difference({0: 0.5, 1: 0.9}, {1: 0.8, 2: 0.1}) == Difference(pytest.approx(0.1), None, 1)
    assert paired_difference({0: 0.5}, {1: 0.5}) is None


def test_two_equal_differences_decide_nothing():
    found = paired_difference({0: 0.75, 1: 0.5}, {0: 0.5, 1: 0.25})
    assert found == Difference(0.25, None, 2)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("mean", "standard_error", "verdict"),
    [
        (0.02, 0.005, "better"),  # t of 4 degrees at 97.5 % is 2.776
        (-0.02, 0.005, "worse"),
        (0.02, 0.008, "undecided"),
        (0.001, 0.0018, "equivalent"),  # at 95 % it is 2.132: 0.001 + 0.0038 is under half a point
        (0.001, 0.0019, "undecided"),
        (0.004, 0.0001, "better"),
        (0.0, 0.0, "equivalent"),
        (0.0, None, "undecided"),
    ],
)
def test_a_verdict_goes_by_the_interval_and_equivalence_by_two_one_sided_tests(mean, standard_error, verdict):
    assert Difference(mean, standard_error, 5).verdict == verdict


def test_equivalence_is_what_two_one_sided_t_tests_say():
    ours, theirs = [0.801, 0.813, 0.795, 0.808, 0.800], [0.800, 0.811, 0.797, 0.806, 0.800]
    leads = np.subtract(ours, theirs)
    above = ttest_1samp(leads, -0.005, alternative="greater").pvalue
    below = ttest_1samp(leads, 0.005, alternative="less").pvalue
    found = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert max(above, below) < 0.05
    assert found.verdict == "equivalent"


def test_a_mean_has_a_sample_deviation_and_a_single_run_none():
    cell = only_cell([*runs_of("rbm", [0.4, 0.6]), *runs_of("mlp", [0.5])])
    assert cell.estimate("rbm", "test_accuracy") == Estimate(pytest.approx(0.5), pytest.approx(0.02**0.5), 2)
    assert cell.estimate("mlp", "test_accuracy") == Estimate(0.5, None, 1)
    assert cell.estimate("krd", "test_accuracy") is None
    assert cell.estimate("mlp", "production_accuracy") is None


def test_the_best_baseline_is_chosen_on_validation_and_not_on_test():
    cell = only_cell(
        [
            *runs_of("glnn", [0.70, 0.71], val_accuracy=0.82),
            *runs_of("krd", [0.90, 0.91], val_accuracy=0.79),
            *runs_of("rbm", [0.80, 0.81], val_accuracy=0.85),
            *runs_of("rbm-frozen", [0.95, 0.96], val_accuracy=0.95),
        ]
    )
    assert cell.best_baseline() == "glnn"


def test_without_another_student_there_is_no_baseline():
    assert only_cell(runs_of("rbm", [0.8])).best_baseline() is None


def test_a_student_is_compared_with_the_teacher_of_its_own_seed():
    lines = [
        run_line(seed=seed, test_accuracy=test, teacher_test_accuracy=teacher)
        for seed, test, teacher in [(0, 0.8, 0.7), (1, 0.6, 0.7), (2, 0.9, 0.8)]
    ]
    cell = only_cell([*lines, run_line(method="mlp", seed=3, teacher_test_accuracy=0.1)])
    found = cell.difference_to_teacher("rbm")
    assert found is not None
    assert (found.mean, found.num_seeds) == (pytest.approx(0.1 / 3), 3)
    assert cell.teacher_estimate() == Estimate(pytest.approx(2.3 / 4), pytest.approx(0.32016, abs=1e-5), 4)


def test_only_a_lead_over_every_other_student_makes_a_leader():
    assert only_cell([*runs_of("rbm", HIGH), *runs_of("mlp", LOW), *runs_of("krd", LOW)]).leader() == "rbm"
    close = [0.89, 0.92, 0.89]
    assert only_cell([*runs_of("rbm", HIGH), *runs_of("mlp", LOW), *runs_of("krd", close)]).leader() is None
    assert only_cell(runs_of("rbm", HIGH)).leader() is None


def test_a_student_with_too_few_seeds_to_compare_leaves_no_leader():
    assert only_cell([*runs_of("rbm", HIGH), *runs_of("mlp", LOW), *runs_of("krd", [0.1])]).leader() is None


def test_cells_are_the_same_whatever_order_the_runs_came_in():
    lines = [
        *runs_of("rbm", [0.1, 0.2]),
        *runs_of("mlp", [0.3], dataset="pubmed"),
        inductive_line(0.5, None),
        run_line(teacher="gcn"),
        run_line(protocol="cpf"),
    ]
    shuffled = Random(0).sample(lines, len(lines))
    cells = {runs.cell: runs for runs in group_by_cell(lines)}
    assert cells == {runs.cell: runs for runs in group_by_cell(shuffled)}
    assert len(cells) == 5
    assert list(cells[Cell("public", "transductive", "sage", "cora")].runs) == ["rbm"]


def test_reliability_counts_runs_far_under_their_teacher_and_names_the_worst():
    lines = [
        run_line(seed=0, test_accuracy=0.80, test_accuracy_max=0.81, teacher_test_accuracy=0.80),
        run_line(seed=1, test_accuracy=0.75, test_accuracy_max=0.78, teacher_test_accuracy=0.80),
        run_line(seed=2, test_accuracy=0.79, test_accuracy_max=None, teacher_test_accuracy=0.81),
    ]
    found = reliability(lines)
    assert (found.num_runs, found.num_below_teacher, found.worst.seed) == (3, 1, 1)
    assert found.inflation == pytest.approx(0.02)
    assert reliability(lines[2:]).inflation is None
