import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rbm_training.evaluation.metrics import RareClass
from rbm_training.reporting.html import render_page, write_page
from rbm_training.reporting.report_data import VALIDATION, ClassResults, GroupAccuracy, TeacherReads
from tests.training.report_samples import bare_report_data, full_report_data


class Outline(HTMLParser):
    """What of a page the tests look at: its tags with their attributes, and its texts by tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.tags[-1][0], " ".join(data.split())))

    def of(self, tag: str) -> list[str]:
        return [text for owner, text in self.texts if owner == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(full_report_data())


def test_the_sections_stand_in_the_order_of_reading(page: str):
    titles = Outline(page).of("h2")
    assert titles == Outline(page).of("a")
    assert titles == [
        "Summary",
        "Classes",
        "Confusion",
        "Calibration",
        "Training",
        "Routing stability",
        "Specialisation, layer 0",
        "Specialisation, layer 1",
        "Unseen nodes",
        "Cost",
        "Graph",
        "Provenance",
    ]


def test_sections_without_data_are_left_out():
    bare = Outline(render_page(bare_report_data()))
    assert bare.of("h2") == ["Summary", "Classes", "Confusion", "Provenance"]


def test_a_student_that_does_not_route_has_no_stability_to_show():
    student = replace(full_report_data(num_epochs=10).histories[0], layers=(), routing_start=None)
    titles = Outline(render_page(replace(bare_report_data(), histories=(student,)))).of("h2")
    assert "Training" in titles
    assert "Routing stability" not in titles


def test_a_lone_student_has_its_cost_in_a_table_and_no_plots():
    alone = Outline(render_page(replace(bare_report_data(), methods=full_report_data().methods[:1])))
    assert "Cost" in alone.of("h2")
    assert alone.of("figcaption") == Outline(render_page(bare_report_data())).of("figcaption")


def test_students_have_their_widths_and_experts_and_with_sparse_features_the_flops_of_those():
    rbm, *others = full_report_data().methods
    rbm = replace(rbm, layer_widths=[1_433, 16, 7], num_experts=[8, 8])
    dense = render_page(replace(bare_report_data(), methods=(rbm, *others)))
    assert "without zeros of features" not in dense
    told = replace(rbm, sparse_flops_per_node=9_000)
    cells = Outline(render_page(replace(bare_report_data(), methods=(told, *others)))).of("td")
    rows = [cells[cells.index(name) :] for name in ("rbm", "teacher (GraphSAGE)")]
    assert [row[1:3] for row in rows] == [["1,433 → 16 → 7", "8, 8"], ["–", "–"]]
    assert [row[6:8] for row in rows] == [["310,000", "9,000"], ["9,800,000", "–"]]


def test_what_the_teacher_reads_is_told_with_how_it_was_counted():
    data = replace(bare_report_data(), methods=full_report_data().methods)
    teacher = replace(
        data.methods[-1], latency_microseconds_alone=np.nan, latency_microseconds_batched=np.nan
    )
    data = replace(data, methods=(*data.methods[:-1], teacher))
    assert "An answer of the teacher" not in render_page(data)
    cells = Outline(render_page(data)).of("td")
    place = cells.index("teacher (GraphSAGE)")
    assert cells[place + 5 : place + 9] == ["184,000", "9,800,000", "–", "–"]
    told = render_page(replace(data, teacher_reads=TeacherReads(31.2, 5.01)))
    assert "reads 31.2 nodes and computes on them, counted as if every node had 5.01 neighbours" in told
    assert "The teacher reads the node alone." in render_page(replace(data, teacher_reads=TeacherReads(1, 5)))


def test_the_page_fetches_nothing_and_runs_nothing(page: str):
    outline = Outline(page)
    assert not [tag for tag, _ in outline.tags if tag in ("script", "link", "iframe", "object")]
    assert not re.search(r"@import|url\((?!#)|https?://", page)
    for _, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert re.match("#|data:image/png;base64,", attributes.get(name) or "#")
    policy = [found["content"] for _, found in outline.tags if "http-equiv" in found]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_drawing_has_a_text_alternative_and_a_caption(page: str):
    outline = Outline(page)
    drawings = [attributes for tag, attributes in outline.tags if tag == "svg"]
    assert len(drawings) == 20
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    assert [drawing["aria-label"] for drawing in drawings] == outline.of("title")[1:]
    assert len(outline.of("figcaption")) == len(drawings)


def test_no_two_things_on_the_page_have_the_same_id(page: str):
    ids = [attributes["id"] for _, attributes in Outline(page).tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_hostile_names_stay_names():
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    data = full_report_data((hostile, "b", "&amp;"), num_epochs=10)
    facts = replace(data.facts, name=hostile, config_toml=f"name = '{hostile}'", versions={hostile: hostile})
    method = replace(data.methods[0], name=hostile)
    history = replace(data.histories[0], method=hostile, losses={hostile: np.zeros(10)})
    data = replace(data, facts=facts, methods=(method, method), histories=(history,))
    outline = Outline(render_page(data))
    assert not [tag for tag, _ in outline.tags if tag in ("script", "img")]
    assert hostile in outline.of("h1")
    assert "&amp;" in outline.of("td")


def test_the_same_report_data_gives_the_same_bytes(page: str):
    assert render_page(full_report_data()) == page


def test_the_page_is_small_enough_to_be_sent_around(page: str):
    many = full_report_data([f"a class of rather long name {number}" for number in range(40)], 16, 300)
    assert len(page.encode()) < len(render_page(many).encode()) < 1_500_000


def test_the_summary_compares_in_words_on_the_group_that_the_setting_tests_on(page: str):
    assert (
        "the student labels 81.00\u00a0% of the 1,000 unseen nodes correctly on average over 3 seeds:"
        " 20.00 points above a logistic regression" in page
    )
    assert "and 1.10 points below its teacher. It learnt from 1,234 labels." in page
    assert "The graph is not seen to help" not in page


@pytest.mark.parametrize(("error", "helps"), [(0.05, True), (0.2, False)])
def test_a_lead_over_logistic_regression_that_may_be_chance_is_called_none(error, helps):
    data = bare_report_data()  # 80 % against 60 %
    page = render_page(replace(data, facts=replace(data.facts, baseline_margin_error=error)))
    assert ("The graph is not seen to help. Without a graph" in page) != helps
    assert f"(95\u00a0% interval {20 - 196 * error:+.2f} to {20 + 196 * error:+.2f} points)" in page


def test_a_lead_on_few_nodes_ends_at_all_of_them():
    data = bare_report_data()
    page = render_page(replace(data, facts=replace(data.facts, baseline_margin_error=0.6)))
    assert "interval -97.60 to +100.00 points" in page


@pytest.mark.parametrize(("answer", "which"), [("b", "the commonest class"), ("a", "one class")])
def test_a_student_that_always_answers_the_same_is_said_to_before_all_else(answer, which):
    results = ClassResults(("a", "b"), np.array([[0, 40], [0, 360]]), np.array([0.0, 1.0]))
    data = replace(bare_report_data(), classes=results)
    page = render_page(replace(data, facts=replace(data.facts, only_answer=answer)))
    told = f"answers &#39;{answer}&#39; for every node, {which}: it tells no two classes apart. Without"
    assert f'<p class="lead">The student {told}' in page


def test_accuracies_have_their_nodes_and_the_interval_of_a_single_seed():
    tested = bare_report_data().accuracies[0]
    data = replace(bare_report_data(), accuracies=(replace(tested, group=VALIDATION), tested))
    cells = Outline(render_page(data)).of("td")
    assert cells[:5] == ["validation nodes", "1,000", "80.00", "82.00", "60.00"]
    assert cells[6:10] == ["1,000", "80.00 (77.4–82.4)", "82.00 (79.5–84.3)", "60.00 (56.9–63.0)"]


def test_rare_classes_and_advice_have_tables_where_there_are_any():
    rare = RareClass(name="fraud", num_nodes=12, share=0.012, student=0.7, teacher=0.71, baseline=0.25)
    page = render_page(replace(full_report_data(), rare_classes=(rare,), advice=("few edges; add some",)))
    cells = Outline(page).of("td")
    place = cells.index("fraud")
    assert cells[place : place + 6] == ["fraud", "12", "1.2", "70.0", "71.0", "25.0"]
    assert "few edges; add some" in cells


def test_a_single_seed_has_no_deviation_and_no_table_of_seeds():
    page = render_page(bare_report_data())
    assert "±" not in page
    assert "of each seed" not in page


def test_a_student_as_good_as_its_teacher_is_level_with_it():
    level = GroupAccuracy("test nodes", 1_000, *[np.array([0.8])] * 3)
    assert "level with its teacher" in render_page(replace(bare_report_data(), accuracies=(level,)))


def test_classes_are_told_with_their_numbers():
    results = ClassResults(("a", "b"), np.array([[6, 2], [3, 1009]]), np.array([0.5, np.nan]))
    cells = Outline(render_page(replace(bare_report_data(), classes=results))).of("td")
    assert cells[5:11] == ["0", "a", "8", "75.0", "66.7", "50.0"]
    assert cells[11:17] == ["1", "b", "1,012", "99.7", "99.8", "–"]
    assert cells[17:25] == ["b", "a", "3", "0.3", "a", "b", "2", "25.0"]


def test_calibration_is_told_before_and_after(page: str):
    calibration = full_report_data().calibration
    before, after = (100 * bins.expected_error for bins in (calibration.before, calibration.after))
    assert f"error from {before:.2f}\u00a0% to {after:.2f}\u00a0%" in page
    cells = Outline(page).of("td")
    place = cells.index("290")
    assert cells[place - 1 : place + 3] == [
        "14",
        "290",
        "96.7",
        f"{100 * calibration.before.accuracy[14]:.1f}",
    ]
    assert "divides logits by 1.370" in page


def test_an_expert_is_told_by_its_main_classes():
    layer = replace(
        full_report_data().maps[0],
        memory=np.zeros((2, 2)),
        expert=np.array([0, 0, 0, 1] * 150),
        class_shares=np.array([[0.7, 0.2, 0.1, 0], [0, 0, 1, 0]]),
    )
    cells = Outline(render_page(replace(bare_report_data(), maps=(layer,)))).of("td")
    assert "Case based 70 %, Genetic algorithms 20 %" in cells
    assert cells[cells.index("Neural networks 100 %") + 1] == "25.0"


def test_writing_replaces_the_page_whole(tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_page(path, bare_report_data())
    assert path.read_text("utf-8") == render_page(bare_report_data())
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_how_nodes_were_divided_and_what_cannot_be_learnt_is_told():
    data = bare_report_data()
    facts = replace(data.facts, split="whole groups of <b>", untrained_classes={"rare": 3})
    page = render_page(replace(data, facts=facts))
    assert "Split: whole groups of &lt;b&gt;." in page
    assert "class &#39;rare&#39; has no training label, so its 3 test nodes cannot be right" in page
