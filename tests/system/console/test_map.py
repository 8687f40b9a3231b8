"""The map: colours, the way from node to node, and classifying what was chosen."""

import json

import pytest

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def page(visit, server):
    page = visit(server)
    expect(page.get_by_role("application", name="Map of 5 nodes")).to_be_visible()
    return page


def test_a_node_is_chosen_and_classified_by_the_keyboard_alone(page):
    page.get_by_role("application").focus()
    readout = page.locator("#map-readout")
    for key, node in [
        ("ArrowRight", "105: blue, expert 1"),
        ("ArrowUp", "115: red"),
        ("ArrowLeft", "110: green"),
    ]:
        page.keyboard.press(key)
        expect(readout).to_contain_text(f"Node {node}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#answer-summary")).to_contain_text("Node 105: blue")
    expect(readout).to_contain_text("Classified: Node 105: blue")
    expect(page.get_by_role("application")).to_be_focused()


def test_a_list_holds_the_same_nodes(page):
    page.get_by_label("Node", exact=True).select_option("110")
    expect(page.locator("#map-readout")).to_contain_text("Node 110: green, expert 2")
    page.get_by_role("button", name="Classify this node").click()
    expect(page.locator("#answer-summary")).to_contain_text("Node 110: ")


def test_the_pointer_names_a_node_and_a_click_classifies_it(page):
    corner = page.locator(".map .mark").nth(3)
    corner.hover(force=True)
    expect(page.locator("#map-readout")).to_contain_text("Node 115: red")
    corner.click(force=True)
    expect(page.locator("#answer-summary")).to_contain_text("Node 115: ")


def test_the_legend_names_and_singles_out_classes_and_experts(page):
    legend = page.locator(".legend")
    expect(legend.get_by_role("listitem")).to_have_text(["red", "green", "blue"])
    page.get_by_label("expert of layer 1").check()
    expect(legend.get_by_role("listitem")).to_have_text(["expert 0", "expert 1", "expert 2", "expert 3"])
    legend.get_by_role("button", name="expert 0").click()
    assert page.locator(".map .dim").count() == 3
    legend.get_by_role("button", name="expert 0").click()
    assert page.locator(".map .dim").count() == 0


def test_colour_is_not_all_that_tells_two_classes_apart(page):
    shapes = [mark.get_attribute("d") for mark in page.locator(".map .mark").all()]
    assert shapes[0] == shapes[3]
    assert len({shapes[0], shapes[1], shapes[2]}) == 3
    assert page.locator(".map .memory").count() == 4


def test_a_chosen_node_that_is_refused_is_not_said_to_be_classified(page):
    problem = {"status": 429, "json": {"detail": "the queue is full", "code": "overloaded"}}
    page.route("**/classify", lambda route: route.fulfill(**problem))
    page.get_by_role("button", name="Classify this node").click()
    expect(page.locator("#map-readout")).to_contain_text("the queue is full")


def test_a_bundle_without_a_map_says_so(page):
    page.get_by_label("Model", exact=True).select_option("records")
    expect(page.locator("#map-body")).to_have_text("This bundle has no map of its nodes.")


def test_a_service_without_maps_says_so(visit, server):
    problem = {"status": 404, "json": {"detail": "no such route", "code": "not_found"}}
    page = visit(server, answers={"**/map?*": problem})
    expect(page.locator("#map-body")).to_have_text("No map: no such route.")


def test_a_chosen_node_without_its_features_is_not_said_to_be_classified(visit, server):
    info = json.loads(server.get("/info"))
    info["features"]["cached"] = None
    page = visit(server, answers={"**/info": {"json": info}})
    page.get_by_role("button", name="Classify this node").click()
    expect(page.locator("#map-readout")).to_contain_text("Refused: the form is not complete")
    expect(page.get_by_label("Features", exact=True)).to_have_attribute("aria-invalid", "true")
