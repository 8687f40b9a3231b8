"""Students are as wide as a budget of operations allows."""

from dataclasses import replace

import pytest

from rbm_training.config import ExperimentConfig, StudentConfig
from rbm_training.config.base import ConfigError
from rbm_training.config.candidates import student_candidates
from rbm_training.students.budget import MOST_HIDDEN, InputSize, costs_of, widest, within_budget

DENSE = InputSize(num_inputs=110, num_classes=5, position_width=10)
SPARSE = InputSize(num_inputs=4_010, num_classes=5, position_width=10, num_nonzero=30.4)
SIZES = pytest.mark.parametrize("size", [DENSE, SPARSE], ids=["dense", "sparse"])


def candidates(max_flops, **changes):
    student = {"kind": "auto", "max_flops": max_flops}
    return student_candidates(ExperimentConfig.model_validate({"name": "a", "student": student, **changes}))


def flops(student, size, wider=0):
    return costs_of(student.model_copy(update={"hidden": student.hidden + wider}), size).flops


@SIZES
def test_each_candidate_is_the_widest_within_the_budget(size):
    fitted = within_budget(candidates(20_000), size)
    told = [(student.kind, student.num_experts) for student in fitted if student.kind != "linear"]
    assert told == [("mlp", 4), ("rbm", 8), ("rbm", 32)]
    for student in fitted:
        assert flops(student, size) <= 20_000
        assert student.max_flops is None
    assert all(flops(student, size, wider=1) > 20_000 for student in fitted if student.kind != "linear")


@SIZES
@pytest.mark.parametrize(
    "shape",
    [
        {"kind": "mlp"},
        {"kind": "mlp", "num_layers": 3},
        {"kind": "rbm", "moe_layers": "all"},
        {"kind": "rbm-head"},
        {"kind": "moe", "moe_layers": "all"},
        {"kind": "mlp-ensemble", "num_members": 3},
    ],
    ids=str,
)
def test_a_student_of_any_kind_is_the_widest_within_its_budget(shape, size):
    [student] = within_budget([StudentConfig(max_flops=30_000, **shape)], size)
    assert flops(student, size) <= 30_000 < flops(student, size, wider=1)


def test_of_sparse_features_the_non_zeros_count():
    mlp = StudentConfig(kind="mlp", max_flops=9_000)
    assert [each.hidden for each in within_budget([mlp], SPARSE)] == [9_000 // (2 * (30 + 10 + 5))]
    with pytest.raises(ConfigError):
        within_budget([mlp], replace(SPARSE, num_nonzero=None))


def test_mixtures_of_a_budget_share_a_router_of_positions():
    mixtures = [student for student in within_budget(candidates(20_000), DENSE) if student.kind == "rbm"]
    for student in mixtures:
        assert student == StudentConfig(
            kind="rbm",
            moe_layers="all",
            hidden=student.hidden,
            num_experts=student.num_experts,
            top_k=1,
            shared_routing=True,
            routing_input="positions",
        )


def test_without_positions_there_is_no_mixture():
    positions = {"kind": "none"}
    assert [student.kind for student in candidates(20_000, positions=positions)] == ["mlp", "linear"]


def test_what_is_too_dear_at_any_width_is_left_out():
    least = flops(StudentConfig(kind="mlp", hidden=2), DENSE)
    assert [student.kind for student in within_budget(candidates(least), DENSE)] == ["mlp"]
    assert "linear" in [student.kind for student in within_budget(candidates(2 * 110 * 5), DENSE)]


def test_a_budget_for_no_student_is_refused_with_what_the_smallest_costs():
    least = flops(StudentConfig(kind="mlp", hidden=2), DENSE)
    with pytest.raises(ConfigError, match=rf"max_flops = {least - 1}; wanted at least {least}, .*\(mlp\)"):
        within_budget(candidates(least - 1), DENSE)
    with pytest.raises(ConfigError, match=r"wanted at least 1,100, .*\(linear\)"):
        within_budget([StudentConfig(kind="linear", max_flops=1_099)], DENSE)


def test_a_large_budget_trains_no_giants():
    fitted = within_budget(candidates(10**12), DENSE)
    hidden = {student.kind: student.hidden for student in fitted}
    assert hidden == {"mlp": MOST_HIDDEN, "linear": StudentConfig().hidden, "rbm": MOST_HIDDEN}


def test_without_a_budget_students_stay_as_they_are():
    students = candidates(None)
    assert [student.kind for student in students] == ["rbm-head", "mlp", "linear"]
    assert within_budget(students, DENSE) == students


@pytest.mark.parametrize(("budget", "found"), [(2, 0), (3, 1), (11, 3), (12, 4), (99, 9)])
def test_the_widest_is_found_among_costs_that_grow(budget, found):
    assert widest(lambda hidden: 3 * hidden, budget, most=9) == found
