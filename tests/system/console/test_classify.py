"""The form: known nodes, records, new nodes, and what the service says of a wrong one."""

import json
import shlex

import pytest

from rbm_bundle.degrees import DEGREE_FEATURES
from tests.bundles import TINY

expect = pytest.importorskip("playwright.sync_api").expect
FEATURES = [0.5] * 12


def press_classify(page):
    page.get_by_role("button", name="Classify", exact=True).click()


def rows_of(page, caption):
    table = page.get_by_role("table", name=caption)
    expect(table).to_be_visible()
    return [
        [cell.replace("\u00a0", " ") for cell in row.locator("td").all_inner_texts()]
        for row in table.locator("tbody tr").all()
    ]


@pytest.fixture
def page(visit, server):
    return visit(server)


@pytest.fixture
def records_page(page):
    page.get_by_label("Model", exact=True).select_option("records")
    page.get_by_label("A new one, by its record").check()
    return page


def test_a_known_node_gets_the_classes_and_experts_that_the_service_gives(page, server):
    page.get_by_label("Node id").fill("105")
    page.get_by_label("Node id").press("Enter")
    expect(page.locator("#answer-summary")).to_have_text(
        "Node 105: blue, 51.7 % by tiny 1", use_inner_text=True
    )
    asked = {"node_ids": [105], "explain": True, "return_probabilities": True}
    [prediction] = server.classify(asked)["predictions"]
    shown = {label: share for label, *_, share in rows_of(page, "Classes by probability")}
    labels = json.loads((TINY / "manifest.json").read_text())["labels"]
    assert shown == {
        label: f"{100 * share:.1f} %"
        for label, share in zip(labels, prediction["probabilities"], strict=True)
    }
    experts = [(row[0], row[1], row[-2]) for row in rows_of(page, "Experts it was routed to")]
    assert experts == [
        (f"{each['layer']}", f"{each['expert']} of 4", f"{100 * each['weight']:.1f} %")
        for each in prediction["experts"]
    ]
    expect(page.locator("#trust")).to_contain_text("The node is known")


def test_the_request_is_shown_as_a_command_that_gives_the_same_answer(page, server):
    page.get_by_label("Node id").fill("105")
    press_classify(page)
    page.get_by_text("The request as a command").click()
    words = shlex.split(page.locator("#curl").inner_text())
    assert words[:2] == ["curl", f"{server.url}/classify"]
    answer = server.classify(json.loads(words[words.index("-d") + 1]))
    assert answer["predictions"][0]["label"] == "blue"


@pytest.mark.parametrize(
    ("neighbors", "trust"),
    [("100, 110", "the mean over those"), ("", "saw no position"), ("7", "saw no position")],
)
def test_a_new_node_is_classified_by_features_and_neighbours(page, neighbors, trust):
    page.get_by_label("A new one, by its features").check()
    page.get_by_label("Features", exact=True).fill(json.dumps(FEATURES))
    page.get_by_label("Ids of its neighbours").fill(neighbors)
    press_classify(page)
    expect(page.locator("#answer-summary")).to_contain_text("The new node: ")
    expect(page.locator("#trust")).to_contain_text(trust)


def test_a_record_has_the_fields_of_the_model(records_page, server):
    record = {
        "year": "2015",
        "section": "a",
        "title": "数据 cell",
        "tags": "graph\nwalk",
        "when": "2024-02-29",
    }
    for name, value in record.items():
        records_page.get_by_label(name, exact=True).fill(value)
    records_page.get_by_label("Ids of its neighbours").fill("3, 5")
    press_classify(records_page)
    asked = {**record, "year": 2015, "tags": ["graph", "walk"]}
    [wanted] = server.classify({"model": "records", "records": [asked], "neighbors": [[3, 5]]})["predictions"]
    expect(records_page.locator("#answer-summary")).to_contain_text(
        f"{wanted['label']}, {100 * wanted['confidence']:.1f}"
    )


def test_what_was_written_stays_when_another_kind_of_node_is_chosen(records_page):
    records_page.get_by_label("title", exact=True).fill("cell")
    records_page.get_by_label("A new one, by its features").check()
    records_page.get_by_label("A new one, by its record").check()
    expect(records_page.get_by_label("title", exact=True)).to_have_value("cell")


def test_what_is_wrong_with_a_record_stands_at_its_field(records_page):
    year = records_page.get_by_label("year", exact=True)
    year.fill("soon")
    press_classify(records_page)
    expect(year).to_have_attribute("aria-invalid", "true")
    expect(year).to_be_focused()
    expect(records_page.locator(".field", has=year)).to_contain_text("expected a finite number")
    year.fill("2015")
    press_classify(records_page)
    expect(records_page.locator("#answer-summary")).to_contain_text("The new node: ")
    expect(year).not_to_have_attribute("aria-invalid", "true")


def test_a_field_may_have_any_name(visit, server):
    names = ["__proto__", "constructor", "toString", "addEventListener", "mode", "two words", "Größe %"]
    info = json.loads(server.get("/info?model=records"))
    for column, name in zip(info["records"]["columns"], names, strict=True):
        column.update(name=name, kind="text", names=[])
    page = visit(server, answers={"**/info*": {"json": info}})
    page.get_by_label("A new one, by its record").check()
    for name in names:
        page.get_by_label(name, exact=True).fill(f"in {name}")
    with page.expect_request("**/classify") as request:
        press_classify(page)
    assert json.loads(request.value.post_data)["records"] == [{name: f"in {name}" for name in names}]


def test_a_new_node_of_a_graph_without_features_is_known_by_its_neighbours_alone(visit, server):
    info = json.loads(server.get("/info"))
    info["features"]["names"] = list(DEGREE_FEATURES)
    page = visit(server, answers={"**/info*": {"json": info}})
    page.get_by_label("A new one, by its features").check()
    expect(page.get_by_label("Features", exact=True)).to_have_count(0)
    page.get_by_label("Ids of its neighbours").fill("105, 106")
    with page.expect_request("**/classify") as request:
        press_classify(page)
    asked = json.loads(request.value.post_data)
    assert (asked["neighbors"], "features" in asked) == ([[105, 106]], False)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("[1, 2]", "expected 12"),
        ("[1, 2", "no JSON"),
        ('{"indptr": [0, 1], "indices": [12]}', "expected a column"),
    ],
)
def test_what_is_wrong_with_features_stands_at_them(page, features, said):
    page.get_by_label("A new one, by its features").check()
    page.get_by_label("Features", exact=True).fill(features)
    press_classify(page)
    expect(page.locator(".field", has=page.get_by_label("Features", exact=True))).to_contain_text(said)


def test_a_refusal_takes_the_place_of_the_answer_before(page):
    page.get_by_label("Node id").fill("105")
    press_classify(page)
    expect(page.locator("#answer-summary")).to_contain_text("Node 105")
    page.get_by_label("Node id").fill("7")
    press_classify(page)
    expect(page.locator("#answer-summary")).to_have_text("Refused; the form says why.")
    expect(page.locator("#answer-body")).to_be_empty()


def test_what_belongs_to_no_field_stands_under_the_form(page):
    page.get_by_label("Node id").fill("99999999999999999")  # more than a number of JavaScript holds
    press_classify(page)
    expect(page.locator("#classify-error")).to_have_text(
        "expected ids that the model knows, got 1 unknown: 99999999999999999; such nodes need features and "
        'neighbors or positions, or on_unknown "null"'
    )


def ask_late(page):
    """Ask for node 100, and have its answer wait; returns a function that lets it come."""
    held = []
    page.route("**/classify", lambda route: route.continue_() if held else held.append(route))
    page.get_by_label("Node id").fill("100")
    with page.expect_request("**/classify"):
        press_classify(page)

    def come():
        with page.expect_response("**/classify") as response:
            held[0].continue_()
        response.value.finished()

    return come


def test_an_answer_that_comes_late_does_not_replace_a_later_one(page):
    come = ask_late(page)
    page.get_by_label("Node id").fill("105")
    press_classify(page)
    expect(page.locator("#answer-summary")).to_contain_text("Node 105: ")
    come()
    page.wait_for_timeout(200)
    expect(page.locator("#answer-summary")).to_contain_text("Node 105: ")


def test_an_answer_of_a_model_that_is_no_longer_shown_is_left_out(page):
    come = ask_late(page)
    page.get_by_label("Model", exact=True).select_option("records")
    expect(page.locator("#mode-record")).to_be_visible()
    come()
    page.wait_for_timeout(200)
    expect(page.locator("#answer-summary")).to_have_text("Nothing asked yet.")


def test_what_a_proxy_says_in_place_of_the_service_is_no_answer(visit, server):
    page = visit(server, answers={"**/classify": {"body": "<p>Sign in</p>", "content_type": "text/html"}})
    page.get_by_label("Node id").fill("105")
    press_classify(page)
    expect(page.locator("#classify-error")).to_have_text("the answer is not the service's")
