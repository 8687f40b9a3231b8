"""Live figures move, and where there are none the page says so."""

import pytest

expect = pytest.importorskip("playwright.sync_api").expect


def test_requests_move_the_numbers(visit, server):
    page = visit(server)
    tile = page.locator("[data-name=requests]")
    expect(tile).to_be_visible()
    expect(page.locator("#health")).to_have_text("ready")
    for _ in range(5):
        server.classify({"node_ids": [100, 105]})
    expect(tile.locator(".number")).not_to_have_text("0")
    expect(page.locator("[data-name=p99] .number")).to_contain_text("s")
    moved = page.locator("[data-name=rows] svg")
    expect(moved).not_to_have_accessible_name("Rows a second in two minutes: at most 0")


def test_a_service_without_statistics_says_so(visit, server):
    problem = {"status": 404, "json": {"detail": "no such route", "code": "not_found"}}
    page = visit(server, answers={"**/stats": problem})
    expect(page.locator("#live-note")).to_have_text("No numbers: no such route.")


def test_nothing_is_asked_while_nobody_looks(visit, server):
    page = visit(server)
    expect(page.locator("[data-name=requests]")).to_be_visible()
    asked = []
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3000)
    assert asked == []


def test_a_service_that_is_gone_is_told(visit, server):
    page = visit(server)
    expect(page.locator("#health")).to_have_text("ready")
    page.context.set_offline(True)
    expect(page.locator("#health")).to_have_text("unreachable")


def test_a_look_that_somebody_wants_while_another_is_under_way_is_not_lost(visit, server):
    page, held = visit(server), []
    page.route("**/stats", lambda route: held.append(route))
    while not held:
        page.wait_for_timeout(50)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(100)
    with page.expect_request("**/stats", timeout=10_000):
        held[0].fulfill(status=401, json={"detail": "this key is not known", "code": "unauthorized"})
