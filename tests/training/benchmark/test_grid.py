import pytest

from rbm_training.benchmark.grid import family_of, is_point, is_possible, place_of, points_of
from rbm_training.benchmark.plan import load_comparison, plan
from rbm_training.config import ConfigError

GRID = 'grid={"student.hidden" = [4, 16], "student.num_experts" = [1, 8], "student.top_k" = [1, 2]}'
NARROW = [f"method.narrow.{GRID}", "method.narrow.like=rbm", 'methods=["mlp", "narrow"]', "seeds=[0]"]


def test_a_grid_stands_for_a_method_at_each_point_that_can_be(comparison):
    mlp, *points = plan(load_comparison(comparison, NARROW))
    assert mlp.identity.method == "mlp"
    assert [point.identity.method for point in points] == [
        *("narrow H=4 E=1 K=1", "narrow H=4 E=8 K=1", "narrow H=4 E=8 K=2"),
        *("narrow H=16 E=1 K=1", "narrow H=16 E=8 K=1", "narrow H=16 E=8 K=2"),
    ]
    student = points[-1].experiment.student
    assert (student.kind, student.hidden, student.num_experts, student.top_k) == ("rbm", 16, 8, 2)


def test_points_that_cannot_be_are_told(comparison):
    config = load_comparison(comparison, NARROW)
    assert config.left_out() == ["narrow H=4 E=1 K=2", "narrow H=16 E=1 K=2"]


def test_a_known_method_may_have_a_grid_and_keeps_the_fields_of_its_table(comparison):
    overrides = [
        'method.mlp={student.dropout = 0.1, grid = {"student.hidden" = [4, 8]}}',
        'methods=["mlp"]',
        "seeds=[0]",
    ]
    runs = plan(load_comparison(comparison, overrides))
    students = [(run.experiment.student.kind, run.experiment.student.dropout) for run in runs]
    assert students == [("mlp", 0.1)] * 2
    assert [run.experiment.student.hidden for run in runs] == [4, 8]


def test_a_point_says_its_family_and_its_place():
    (name,) = points_of("rbm", {"grid": {"student.hidden": [4], "distill.temperature": [0.5]}})
    assert name == "rbm H=4 temperature=0.5"
    assert is_point(name)
    assert not is_point("rbm")
    assert (family_of(name), place_of(name)) == ("rbm", "H=4 temperature=0.5")


def test_experts_by_layer_are_a_value_and_the_largest_layer_counts():
    ((name, table),) = points_of(
        "rbm", {"grid": {"student.num_experts": [[1, 4]], "student.top_k": [2]}}
    ).items()
    assert name == "rbm E=1,4 K=2"
    assert is_possible(table)


@pytest.mark.parametrize("top_k", ["'two'", "0"])
def test_a_value_that_is_none_is_refused_by_the_experiment(comparison, top_k):
    grid = f'method.rbm.grid={{"student.num_experts" = [8], "student.top_k" = [{top_k}]}}'
    with pytest.raises(ConfigError, match=f"student.top_k: found {top_k}; wanted"):
        plan(load_comparison(comparison, [grid]))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("4", "found method.rbm.grid = 4; wanted a list of values for each field"),
        ('{"student.hidden" = 4}', "wanted a list of values for each field"),
        ('{"student.hidden" = []}', "wanted a list of values for each field"),
        (
            '{"student.hiden" = [4]}',
            r"found 'student.hiden' in method.rbm.grid; .*did you mean .student.hidden",
        ),
        ('{"seeds" = [[0], [1]]}', "found 'seeds' in method.rbm.grid; wanted a field of an experiment"),
        ('{"student" = [{hidden = 4}]}', "found 'student' in method.rbm.grid; wanted a field"),
        (
            '{"distill.losses" = [{mine = 1.0}]}',
            "found {'mine': 1.0} in method.rbm.grid.'distill.losses'; wanted values of one word each",
        ),
    ],
)
def test_a_grid_that_is_none_is_refused(comparison, grid, message):
    with pytest.raises(ConfigError, match=message):
        load_comparison(comparison, [f"method.rbm.grid={grid}"])
