from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from rbm_training.reporting.figures import (
    Plot,
    calibration_plots,
    class_plot,
    confusion_plot,
    cost_plots,
    map_plots,
    stability_plots,
    to_svg,
    training_plots,
    unseen_plot,
)
from rbm_training.reporting.figures.cost import pareto_front
from rbm_training.reporting.figures.routing import MOST_TOLD_APART
from rbm_training.reporting.figures.style import short_number, shorten, sign
from rbm_training.reporting.report_data import ClassResults, ReportData, UnseenAccuracy
from tests.training.report_samples import CLASSES, class_results, full_report_data, layer_map


def all_plots(data: ReportData) -> Iterator[Plot]:
    yield class_plot(data.classes)
    yield confusion_plot(data.classes)
    yield from calibration_plots(data.calibration)
    yield unseen_plot(data.unseen, 1000)
    yield from training_plots(data.histories)
    yield from stability_plots(data.histories)
    for layer in data.maps:
        yield from map_plots(layer, data.classes.names)
    yield from cost_plots(data.methods, 1000)


def cell_texts(plot: Plot) -> list[str]:
    return [text.get_text() for text in plot.figure.axes[0].texts]


def legend_texts(plot: Plot) -> list[str]:
    return [text.get_text() for text in plot.figure.legends[0].get_texts()]


@pytest.fixture(scope="module")
def plots() -> list[Plot]:
    return list(all_plots(full_report_data()))


def test_every_axis_is_labelled(plots: list[Plot]):
    for axes in [axes for plot in plots for axes in plot.figure.axes]:
        if axes.get_label() == "<colorbar>":
            assert "(%)" in axes.get_xlabel() + axes.get_ylabel()
            continue
        assert axes.get_ylabel()
        assert any(sibling.get_xlabel() for sibling in axes.get_shared_x_axes().get_siblings(axes))


def test_every_plot_has_a_name_of_its_own_a_text_alternative_and_a_caption(plots: list[Plot]):
    assert len({plot.name for plot in plots}) == len(plots)
    assert all(plot.alt and plot.caption for plot in plots)


def test_confusion_cells_hold_percents_of_the_true_class():
    results = ClassResults(("a", "b"), np.array([[6, 2], [0, 12]]), np.array([1.0, 1.0]))
    assert cell_texts(confusion_plot(results)) == ["75", "25", "100"]


def test_a_matrix_of_many_classes_has_a_colour_bar_instead_of_numbers():
    plot = confusion_plot(class_results([f"class {number}" for number in range(40)]))
    assert cell_texts(plot) == []
    assert plot.figure.axes[1].get_xlabel() == "share of the true class (%)"


def test_each_experts_rows_fill_a_column():
    shares = replace(layer_map(2, 3, seed=0), class_shares=np.array([[0.5, 0.25, 0.25], [0, 0.1, 0.9]]))
    plot = map_plots(shares, ("a", "b", "c"))[-1]
    cells = {text.get_position(): text.get_text() for text in plot.figure.axes[0].texts}
    assert cells == {(0, 0): "50", (0, 1): "25", (0, 2): "25", (1, 1): "10", (1, 2): "90"}


def test_the_reliability_diagram_draws_filled_bins_in_percent():
    calibration = full_report_data().calibration
    axes = calibration_plots(calibration)[0].figure.axes[0]
    _, before, after = axes.lines
    filled = calibration.before.count > 0
    assert np.allclose(before.get_xdata(), 100 * calibration.before.confidence[filled])
    assert np.allclose(before.get_ydata(), 100 * calibration.before.accuracy[filled])
    assert np.allclose(after.get_ydata(), 100 * calibration.after.accuracy[calibration.after.count > 0])


def test_markers_of_the_reliability_diagram_grow_with_the_nodes_of_their_bin():
    calibration = full_report_data().calibration
    before, _ = calibration_plots(calibration)[0].figure.axes[0].collections
    sizes, counts = before.get_sizes(), calibration.before.count[calibration.before.count > 0]
    assert np.argsort(sizes).tolist() == np.argsort(counts).tolist()
    assert sizes.max() > 5 * sizes.min()


def test_a_map_of_more_classes_than_signs_tells_the_most_frequent_ones_apart():
    names = [f"class {number}" for number in range(20)]
    layer = layer_map(4, 20, seed=0)
    told = legend_texts(map_plots(layer, names)[1])
    frequent = np.argsort(-np.bincount(layer.label), kind="stable")[:MOST_TOLD_APART]
    assert told == [f"{number} class {number}" for number in sorted(frequent)] + ["others"]


def test_a_class_keeps_its_sign_through_a_name_that_matplotlib_would_hide_or_typeset():
    plot = map_plots(layer_map(2, 2, seed=0), ("_nolegend_", "$\\frac{"))[1]
    assert legend_texts(plot) == ["0 _nolegend_", "1 $\\frac{"]
    assert "$\\frac{" in to_svg(plot)


def test_signs_of_many_things_differ():
    assert len({sign(place) for place in range(36)}) == 36


def test_a_student_without_routing_is_no_line_of_the_routing_plots():
    student, moe = full_report_data().histories
    mlp = replace(moe, method="mlp", layers=(), routing_start=None)
    assert legend_texts(stability_plots((student, mlp))[0]) == ["rbm, layer 0", "rbm, layer 1"]


def test_the_front_holds_what_nothing_beats_in_both():
    costs, accuracies = np.array([3.0, 1.0, 2.0, 2.0, 4.0]), np.array([0.8, 0.6, 0.7, 0.75, 0.8])
    assert pareto_front(costs, accuracies).tolist() == [1, 3, 0]


def test_the_teacher_has_no_latency_and_a_lone_method_no_plot():
    student, teacher = full_report_data().methods[0], full_report_data().methods[-1]
    teacher = replace(teacher, latency_microseconds_alone=np.nan, latency_microseconds_batched=np.nan)
    assert [plot.name for plot in cost_plots((student, teacher), 100)] == ["flops"]
    three = cost_plots((student, replace(student, name="mlp"), teacher), 100)
    assert [len(legend_texts(plot)) for plot in three] == [3, 2, 2]


def test_nothing_is_said_of_a_line_that_is_not_there():
    student, dear = full_report_data().methods[0], replace(full_report_data().methods[1], flops_per_node=1e6)
    assert "dashed line" not in cost_plots((student, replace(dear, test_accuracy=0.1)), 100)[0].caption
    assert "dashed line" in cost_plots((student, replace(dear, test_accuracy=0.9)), 100)[0].caption
    results = class_results(CLASSES)
    ahead = replace(results, teacher_recall=results.recall - 0.1)
    assert "grey line" not in class_plot(ahead).caption
    assert "grey line" in class_plot(replace(results, teacher_recall=results.recall + 0.1)).caption


@pytest.mark.parametrize(("num_seeds", "told"), [(1, "Bars: 95 %, n = 1,000."), (3, "A dot is a seed")])
def test_dots_of_seeds_are_told_of_where_there_are_several(num_seeds, told):
    unseen = UnseenAccuracy(*[np.full(num_seeds, 0.8)] * 3)
    assert told in unseen_plot(unseen, 1000).caption


@pytest.mark.parametrize("span", [1.5, 40, 1e6])
def test_costs_of_any_span_have_at_least_two_and_at_most_nine_ticks_in_view(span: float):
    cheap, dear = full_report_data().methods[:2]
    methods = [replace(cheap, flops_per_node=1e4), replace(dear, flops_per_node=1e4 * span)]
    axes = cost_plots(methods, 1000)[0].figure.axes[0]
    low, high = axes.get_xlim()
    assert 2 <= sum(low <= tick <= high for tick in axes.get_xticks()) <= 9


def test_points_are_one_raster_image_and_text_stays_text():
    drawing = to_svg(map_plots(layer_map(4, 4, seed=0), CLASSES)[0])
    assert drawing.count("<image") == 1
    assert "first map coordinate</text>" in drawing


def test_a_drawing_takes_its_colours_from_the_page_and_its_ids_from_its_plot():
    plot = confusion_plot(ClassResults(('id="x" #010203', "b"), np.eye(2, dtype=int), np.ones(2)))
    drawing = to_svg(plot)
    assert 'id="x" #010203' in drawing  # a name is no markup
    assert drawing.count("#010203") == 1
    assert "currentColor" in drawing
    assert drawing.count(' id="') == drawing.count(' id="confusion-')


def test_letters_that_matplotlib_has_no_glyph_for_reach_the_page_without_a_warning():
    assert "日本語" in to_svg(class_plot(class_results(("日本語", "b"))))


def test_names_are_cut_and_numbers_abbreviated():
    assert shorten("Probabilistic\nmethods") == "Probabilistic methods"
    assert shorten("Programming languages") == "Programming languages"
    assert shorten("Programming languages and more") == "Programming language…"
    assert [short_number(value) for value in (0.25, 950, 12_500, 3e6, 2e9)] == [
        "0.25",
        "950",
        "12.5k",
        "3M",
        "2G",
    ]
