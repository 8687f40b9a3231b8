from rbm_training.benchmark.frontier_tables import frontier_cells, picture_name, pictures_of, render_frontier
from tests.training.benchmark.grid_lines import grid_lines, grid_runs
from tests.training.benchmark.run_lines import cells_of

TIMED = {"latency_us_1": 20.0, "latency_us_128": 1.5}


def test_without_a_grid_there_is_no_section():
    assert render_frontier([]) == ""


def test_a_family_has_a_row_with_the_leads_of_its_best_size():
    rows = cells_of(render_frontier(grid_lines()))
    leads = ["**+3.0 [+3.0, +3.0]**"] * 3
    assert ["cora", "rbm", "H=4 E=8", "3", "2.00 k", *leads, "–"] in rows


def test_every_size_has_a_row_and_what_none_beats_a_star():
    rows = cells_of(render_frontier(grid_lines()))
    qualities = ["70.0 ± 1.0", "68.0 ± 1.0", "75.0 ± 1.0", "30.00 ± 1.00"]
    assert ["mlp", "H=4", "★", "3", "1.00 k", "–", "–", "–", *qualities] in rows
    slow = grid_lines() + [
        line.model_copy(update={"method": f"{line.method} K=2", "test_accuracy": 0.5})
        for line in grid_lines()
        if line.method == "rbm H=4 E=8"
    ]
    marks = {row[1]: row[2] for row in cells_of(render_frontier(slow)) if len(row) == 12}
    assert (marks["H=4 E=8"], marks["H=4 E=8 K=2"]) == ("★", "")


def test_measured_latency_stands_in_the_table_and_has_pictures_of_its_own():
    rows = cells_of(render_frontier(grid_lines(**TIMED)))
    assert ["20", "1.5"] in [row[6:8] for row in rows]
    assert [cost for cost, _ in pictures_of(grid_runs(**TIMED))] == [
        *("flops_per_node", "flops_per_node"),
        *("latency_us_1", "latency_us_1"),
        *("latency_us_128", "latency_us_128"),
    ]


def test_the_page_links_to_each_picture_that_can_be_drawn():
    runs = grid_runs(agreement=None)
    assert pictures_of(runs) == [("flops_per_node", "test_accuracy")]
    name = picture_name(runs, "flops_per_node", "test_accuracy")
    assert name == "cora-public-transductive-sage-test_accuracy-flops_per_node.svg"
    text = render_frontier(grid_lines(agreement=None))
    assert f"![test accuracy against FLOPs per node](frontier/{name})" in text
    assert text.count("](frontier/") == 1


def test_each_dataset_has_a_part_in_the_order_of_the_page():
    lines = [*grid_lines(dataset="pubmed"), *grid_lines(dataset="cora")]
    assert [runs.cell.dataset for runs in frontier_cells(lines)] == ["cora", "pubmed"]
    headings = [line for line in render_frontier(lines).splitlines() if line.startswith("#")]
    assert headings == [
        "## Frontier",
        "### cora, protocol public, transductive, teacher sage",
        "### pubmed, protocol public, transductive, teacher sage",
    ]
