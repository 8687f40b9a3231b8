"""Where the service has keys, the page is empty until it is given one, and forgets it with itself."""

import pytest

from tests.bundles import repository_of
from tests.keys import ADMIN_KEY, API_KEY, WRONG_KEY, key_files
from tests.servers import running_server

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def guarded(browser, tmp_path_factory):
    root = tmp_path_factory.mktemp("guarded")
    repository_of(root / "models")
    with running_server(root / "models", root / "log", **key_files(root)) as running:
        yield running


@pytest.fixture
def page(visit, guarded):
    return visit(guarded)


def give(page, key):
    page.get_by_label("API key or admin key").fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_without_a_key_there_is_nothing_but_the_wish_for_one(page):
    expect(page.get_by_role("alert")).to_have_text("This service has keys: give one to see what it serves.")
    expect(page.get_by_label("API key or admin key")).to_be_focused()
    expect(page.get_by_role("main")).to_be_hidden()
    assert "tiny" not in page.inner_text("body")


def test_a_key_opens_the_page_and_is_kept_nowhere(page):
    give(page, API_KEY)
    page.get_by_label("Node id").fill("105")
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.locator("#answer-summary")).to_contain_text("blue")
    page.get_by_text("The request as a command").click()
    expect(page.locator("#curl")).to_contain_text('"Authorization: Bearer $KEY"')
    assert API_KEY not in page.content()
    assert API_KEY not in page.url
    assert page.get_by_label("API key or admin key").input_value() == ""
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.reload()
    expect(page.get_by_role("main")).to_be_hidden()


def test_an_api_key_shows_no_versions(page):
    give(page, API_KEY)
    expect(page.locator("#versions-body")).to_have_text("Versions need the admin key; this is an API key.")


def test_a_wrong_key_is_called_so_and_a_right_one_may_follow(page):
    give(page, WRONG_KEY)
    expect(page.locator("#key-note")).to_have_text("this key is not known.")
    give(page, ADMIN_KEY)
    expect(page.get_by_role("table", name="Versions of tiny")).to_be_visible()


def test_a_key_that_ends_while_somebody_writes_is_asked_for_without_taking_the_focus(page):
    give(page, API_KEY)
    page.get_by_label("Node id").press_sequentially("10")
    problem = {"status": 401, "json": {"detail": "this key is not known", "code": "unauthorized"}}
    page.route("**/stats", lambda route: route.fulfill(**problem))
    expect(page.locator("#key-note")).to_have_text("this key is not known.")
    page.keyboard.type("5")
    expect(page.get_by_label("Node id")).to_have_value("105")


def test_a_key_can_be_forgotten(page):
    give(page, API_KEY)
    expect(page.get_by_role("main")).to_be_visible()
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("main")).to_be_hidden()
