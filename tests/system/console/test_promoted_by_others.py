"""What somebody is doing on the page stays as it is when somebody else promotes a version."""

import pytest

from rbm_bundle import read_bundle
from tests.bundles import TINY, repository_of, with_other_answers, without_cached_features
from tests.servers import running_server
from tests.system.console.conftest import with_corners

expect = pytest.importorskip("playwright.sync_api").expect
RETRAINED, WITHOUT_FEATURES = 2, 3


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three versions: the last asks for the features of known nodes too."""
    folder = tmp_path_factory.mktemp("versions")
    first = with_corners(folder)
    repository = repository_of(folder / "models", first.path)
    repository.publish(with_other_answers(first, folder / "retrained", 1).path)
    repository.publish(without_cached_features(read_bundle(TINY), folder / "without").path)
    return repository


@pytest.fixture(scope="module")
def running(browser, repository):
    with running_server(repository.root, repository.root / "log") as server:
        yield server


@pytest.fixture
def page(visit, running, repository):
    """The page while version 1 is in service."""
    repository.promote("tiny", 1)
    page = visit(running)
    shows_version(page, 1)
    return page


def shows_version(page, version):
    expect(page.locator("#served")).to_contain_text(f"Version{version}")


@pytest.mark.parametrize("version", [RETRAINED, WITHOUT_FEATURES])
def test_whoever_writes_an_id_goes_on_where_the_caret_is(page, repository, version):
    field = page.get_by_label("Node id")
    field.fill("15")
    field.press("ArrowLeft")
    repository.promote("tiny", version)
    shows_version(page, version)
    expect(page.get_by_label("Features", exact=True)).to_have_count(int(version == WITHOUT_FEATURES))
    expect(field).to_be_focused()
    page.keyboard.type("0")
    expect(field).to_have_value("105")


def test_what_was_said_of_a_field_is_still_there(page, repository):
    page.get_by_label("A new one, by its features").check()
    page.get_by_label("Features", exact=True).fill("[1, 2")
    page.get_by_label("Features", exact=True).press("Control+End")
    page.get_by_role("button", name="Classify", exact=True).click()
    repository.promote("tiny", RETRAINED)
    shows_version(page, RETRAINED)
    expect(page.locator("#classify-fields")).to_contain_text("no JSON")
    expect(page.get_by_label("Features", exact=True)).to_be_focused()


def test_whoever_walks_over_the_map_stands_where_they_were(page, repository):
    page.get_by_label("expert of layer 1").check()
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowRight")
    with page.expect_response("**/map?*"):
        repository.promote("tiny", RETRAINED)
    shows_version(page, RETRAINED)
    expect(page.locator("#map-readout")).to_contain_text("Node 105: ")
    expect(page.get_by_role("application")).to_be_focused()
    expect(page.get_by_label("expert of layer 1")).to_be_checked()
    expect(page.locator(".legend").get_by_role("listitem").first).to_have_text("expert 0")
