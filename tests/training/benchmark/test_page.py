import re
from pathlib import Path
from random import Random

import pytest

from rbm_training.benchmark.page import render_results
from rbm_training.benchmark.published import load_published
from rbm_training.benchmark.records import ResultsFile
from tests.training.benchmark.grid_lines import grid_lines
from tests.training.benchmark.run_lines import HIGH, LOW, cells_of, inductive_line, run_line, runs_of, untied

DOCS = Path(__file__).parents[3] / "docs"
RECORDED = DOCS / "results.jsonl"

SMALL = [
    *runs_of("rbm", HIGH, teacher_test_accuracy=0.85),
    *runs_of("mlp", LOW, teacher_test_accuracy=0.85),
    *runs_of("rbm", [0.78, 0.79, 0.80], dataset="pubmed", teacher_test_accuracy=0.79),
    run_line(protocol="cpf", dataset="cora-cpf", method="glnn", git_commit=None),
    inductive_line(0.7, 0.8, protocol="cpf", dataset="cora-cpf", git_commit="0123456789abcdef-dirty"),
]


def render(lines):
    return render_results(lines, load_published())


def test_the_page_depends_on_its_runs_and_not_on_their_order():
    assert render(SMALL) == render(Random(0).sample(SMALL, len(SMALL)))


def test_every_section_has_its_tables_and_the_inductive_one_those_of_unseen_nodes():
    headings = [line for line in render(SMALL).splitlines() if line.startswith("#")]
    assert headings == [
        "# Results",
        "## How to read",
        "## RbM at a glance",
        "## Protocol cpf, transductive, teacher sage",
        "### Test accuracy",
        "### Agreement with the teacher on all nodes",
        "### KL from the teacher on all nodes, times 100",
        "### Reliability",
        "## Protocol cpf, inductive, teacher sage",
        "### Accuracy on unseen nodes",
        "### Accuracy on observed test nodes",
        "### Production accuracy",
        "### Agreement with the teacher on all nodes",
        "### KL from the teacher on all nodes, times 100",
        "### Differences",
        "### Reliability",
        "## Protocol public, transductive, teacher sage",
        "### Test accuracy",
        "### Agreement with the teacher on all nodes",
        "### KL from the teacher on all nodes, times 100",
        "### Differences",
        "### Reliability",
        "## Beside published numbers",
        "### Protocol cpf, transductive, published",
        "### Protocol cpf, inductive, published",
        "### Protocol cpf, inductive, production, published",
    ]


def test_the_glance_counts_datasets_by_verdict_and_leads_to_their_section():
    text = render(SMALL)
    link = "[Protocol public, transductive, teacher sage](#protocol-public-transductive-teacher-sage)"
    assert [link, "rbm", "1 / 0 / 1 / 0", "1 / 0 / 0 / 0", "–", "1 / 0 / 0 / 0"] in cells_of(text)
    assert "[Protocol cpf, transductive, teacher sage]" not in text, "no run of RbM, nothing to glance at"


def test_the_page_says_which_code_its_runs_came_from():
    commits = "9 at `0123456789`, 1 at `0123456789-dirty`, 1 at an unknown commit"
    assert f"11 runs, 11 of release 1.2.3: {commits}." in render(SMALL)
    older = render([run_line(), run_line(seed=1, release=None)])
    assert "2 runs, 1 of release 1.2.3, 1 of releases whose lines name none: " in older


def test_regimes_are_listed_once_and_only_where_there_are_some():
    ahead = [*runs_of("rbm", [0.9] * 5, val_accuracy=0.9, dataset="coauthor-cs")]
    behind = [*runs_of("mlp-flops", [0.8] * 5, val_accuracy=0.8, dataset="coauthor-cs")]
    under_both = [run_line(protocol="cpf")]
    text = render([*ahead, *behind, *under_both])
    assert len([row for row in cells_of(text) if row[-1] == "too few fresh seeds"]) == 1
    assert "## Regimes" not in render(SMALL)
    points = [
        line.model_copy(update={"method": f"{name} H=4"})
        for lines, name in ((ahead, "rbm-head"), (behind, "mlp-flops-head"))
        for line in lines
    ]
    assert "## Regimes" not in render(points)


def test_published_numbers_stand_beside_ours():
    rows = cells_of(render(SMALL))
    assert ["GLNN, teacher SAGE", "glnn", "80.54 ± 1.35"] in [row[:3] for row in rows]
    assert ["**glnn, teacher sage**", "here", "82.00"] in [row[:3] for row in rows]


def test_every_row_of_a_table_is_as_long_as_its_header():
    tables = re.findall(r"(?:^\|.*\n)+", untied(render(SMALL)), re.MULTILINE)
    assert len(tables) > 15
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_without_runs_the_page_says_so():
    text = render([])
    assert text.endswith("No runs yet.\n")
    assert "|" not in text


@pytest.mark.skipif(not RECORDED.exists(), reason="there is no docs/results.jsonl")
def test_the_page_of_results_is_what_its_runs_say():
    page = DOCS / "results.md"
    assert page.read_text(encoding="utf-8") == render(ResultsFile(RECORDED).read())


def test_points_of_a_grid_have_a_part_of_their_own_and_stand_in_no_other_table():
    text = render([*SMALL, *grid_lines()])
    assert "## Frontier" in text
    (part,) = [part for part in re.split("^## ", text, flags=re.MULTILINE) if part.startswith("Frontier")]
    assert text.count("H=4 E=8") == part.count("H=4 E=8") == 2
