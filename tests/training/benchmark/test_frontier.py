import pytest

from rbm_training.benchmark.frontier import (
    best_by_validation,
    families,
    flops_of,
    lead,
    points_of_family,
    unbeaten,
)
from rbm_training.benchmark.statistics import group_by_cell
from tests.training.benchmark.grid_lines import grid_lines, grid_runs
from tests.training.benchmark.run_lines import run_line


def test_families_are_what_has_a_grid_the_mlp_first():
    assert families(grid_runs()) == ["mlp", "rbm"]


def test_points_of_a_family_stand_by_cost_with_their_mean_over_seeds():
    points = points_of_family(grid_runs(), "mlp", "flops_per_node", "test_accuracy")
    assert [(point.method, point.cost) for point in points] == [
        ("mlp H=4", 1000),
        ("mlp H=8", 4000),
        ("mlp H=16", 16_000),
    ]
    assert [point.quality.mean for point in points] == pytest.approx([0.68, 0.78, 0.82])
    assert points[0].quality.deviation == pytest.approx(0.01)


def test_a_point_without_the_cost_or_the_quality_is_none():
    runs = grid_runs(agreement=None)
    assert points_of_family(runs, "mlp", "flops_per_node", "agreement") == []
    assert points_of_family(runs, "mlp", "latency_us_1", "test_accuracy") == []


def test_unbeaten_is_what_nothing_cheaper_is_as_good_as():
    methods = [point.method for point in unbeaten(grid_runs(), "flops_per_node", "test_accuracy")]
    assert methods == ["mlp H=4", "rbm H=4 E=8", "mlp H=8", "rbm H=8 E=8", "mlp H=16"]
    beaten = [run_line(method="rbm H=16 E=8", flops_per_node=5000, test_accuracy=0.77)]
    (runs,) = group_by_cell([*grid_lines(), *beaten])
    assert methods == [point.method for point in unbeaten(runs, "flops_per_node", "test_accuracy")]


def test_the_lead_is_over_an_mlp_halfway_on_a_logarithmic_axis_and_paired_by_seed():
    found = lead(grid_runs(), "rbm H=4 E=8", "flops_per_node", "val_accuracy")
    assert found.mean == pytest.approx(0.78 - 0.75)
    assert found.num_seeds == 3
    assert found.half_width == pytest.approx(0, abs=1e-9)  # what a seed shifts, it shifts for both


def test_at_the_cost_of_an_mlp_the_lead_is_over_that_one():
    found = lead(grid_runs(), "mlp H=8", "flops_per_node", "test_accuracy")
    assert found.mean == pytest.approx(0)


@pytest.mark.parametrize("flops", [999, 16_001])
def test_beyond_the_mlps_there_is_no_lead(flops):
    outside = run_line(method="rbm H=99 E=8", flops_per_node=flops)
    (runs,) = group_by_cell([*grid_lines(), outside])
    assert lead(runs, "rbm H=99 E=8", "flops_per_node", "test_accuracy") is None


def test_only_seeds_that_have_an_mlp_on_both_sides_count():
    lines = [line for line in grid_lines() if (line.method, line.seed) != ("mlp H=4", 2)]
    (runs,) = group_by_cell(lines)
    assert lead(runs, "rbm H=4 E=8", "flops_per_node", "test_accuracy").num_seeds == 2


def test_the_best_of_a_family_is_chosen_on_validation_alone():
    better_on_test = [
        line.model_copy(update={"test_accuracy": 0.99}) if line.method == "rbm H=8 E=8" else line
        for line in grid_lines()
    ]
    (runs,) = group_by_cell(better_on_test)
    assert best_by_validation(runs, "rbm") == "rbm H=4 E=8"
    assert best_by_validation(runs, "moe") is None


def test_where_features_are_sparse_costs_are_those_of_the_non_zeros():
    assert flops_of(grid_runs()) == "flops_per_node"
    dear = [line.model_copy(update={"sparse_flops_per_node": 3000}) for line in grid_lines()]
    (runs,) = group_by_cell(dear)
    assert flops_of(runs) == "sparse_flops_per_node"
    assert {point.cost for point in unbeaten(runs, flops_of(runs), "test_accuracy")} == {3000}
