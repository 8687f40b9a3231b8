from xml.etree import ElementTree

from rbm_training.benchmark.frontier_plots import frontier_figure, write_frontier
from rbm_training.benchmark.frontier_tables import render_frontier
from tests.training.benchmark.grid_lines import grid_lines, grid_runs


def figure_of(**changes):
    return frontier_figure(grid_runs(**changes), "flops_per_node", "test_accuracy")


def test_each_family_is_in_the_legend_and_the_best_size_of_a_mixture_is_named():
    figure = figure_of()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mlp", "rbm"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["H=4 E=8"]


def test_costs_are_on_a_logarithmic_axis_and_both_axes_say_what_they_are():
    (axes,) = figure_of().axes
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("FLOPs per node", "test accuracy (%)")
    assert axes.get_title() == "cora"


def test_every_point_of_a_family_is_drawn():
    mlps, mixtures, front = figure_of().axes[0].lines
    assert [len(line.get_xdata()) for line in (mlps, mixtures, front)] == [3, 2, 5]


def test_students_far_below_the_best_are_out_of_the_picture():
    runs = grid_runs()
    runs.runs["mlp H=4"][0] = runs.runs["mlp H=4"][0].model_copy(update={"test_accuracy": 0.0})
    bottom, top = frontier_figure(runs, "flops_per_node", "test_accuracy").axes[0].get_ylim()
    assert top - bottom < 25


def test_pictures_are_the_files_that_the_page_links_to_and_the_same_runs_give_the_same_bytes(tmp_path):
    lines = grid_lines(latency_us_1=20.0)
    write_frontier(lines, tmp_path)
    files = sorted((tmp_path / "frontier").iterdir())
    assert len(files) == 4
    page = render_frontier(lines)
    assert all(f"](frontier/{file.name})" in page for file in files)
    before = [file.read_bytes() for file in files]
    write_frontier(lines, tmp_path)
    assert [file.read_bytes() for file in files] == before
    assert ElementTree.parse(files[0]).getroot().tag.endswith("svg")


def test_without_grids_no_folder_is_made(tmp_path):
    write_frontier([], tmp_path)
    assert list(tmp_path.iterdir()) == []
