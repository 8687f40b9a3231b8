"""Versions with the admin key: promoting one, rolling back, comparing one, and what is refused."""

import pytest

from rbm_bundle import ShadowSpec, read_bundle
from tests.bundles import TINY, repository_of, with_other_answers
from tests.keys import ADMIN_KEY, key_files
from tests.servers import running_server

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Five versions: two that answer, one without a manifest, a damaged one, and the first once more."""
    folder = tmp_path_factory.mktemp("versions")
    repository = repository_of(folder / "models")
    repository.publish(with_other_answers(read_bundle(TINY), folder / "other", 1).path)
    (repository.root / "tiny" / f"{repository.publish(TINY)}" / "manifest.json").unlink()
    damaged = repository.root / "tiny" / f"{repository.publish(TINY)}"
    for graph in damaged.glob("*.onnx"):
        graph.write_bytes(b"damaged")
    repository.publish(TINY)
    return repository


@pytest.fixture(scope="module")
def running(browser, repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("running")
    admin_key_file = key_files(folder)["admin_key_file"]
    with running_server(repository.root, folder / "log", admin_key_file=admin_key_file) as server:
        yield server


@pytest.fixture
def page(visit, running):
    """The page with the admin key, while version 1 is in service."""
    assert running.command("tiny", "promote", {"version": 1})[0] == 200
    page = visit(running)
    give_key(page)
    return page


def give_key(page):
    page.get_by_role("button", name="Give the admin key").click()
    page.get_by_label("API key or admin key").fill(ADMIN_KEY)
    page.get_by_label("API key or admin key").press("Enter")


def row_of(page, version):
    table = page.get_by_role("table", name="Versions of tiny")
    return table.get_by_role("row").filter(has=page.get_by_role("cell", name=f"{version}", exact=True))


def confirm(page, name):
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def test_versions_are_promoted_and_rolled_back_and_only_when_confirmed(page, running):
    expect(row_of(page, 3)).to_contain_text("manifest.json")
    expect(row_of(page, 1)).to_contain_text("in service")
    page.get_by_role("button", name="Promote version 2").click()
    confirm(page, "Cancel")
    assert running.classify({"node_ids": [100]})["model"]["version"] == 1
    page.get_by_role("button", name="Promote version 2").click()
    confirm(page, "Promote")
    expect(page.locator("#versions-done")).to_have_text("Version 2 is in service.")
    expect(page.locator("#versions-done")).to_be_focused()
    expect(row_of(page, 2)).to_contain_text("in service")
    expect(page.locator("#served")).to_contain_text("Version2")
    assert running.classify({"node_ids": [100]})["model"]["version"] == 2
    page.get_by_role("button", name="Roll back").click()
    confirm(page, "Roll back")
    expect(row_of(page, 1)).to_contain_text("in service")
    expect(page.get_by_role("button", name="Roll back")).to_be_disabled()


def test_a_shadow_is_started_with_a_share_watched_and_stopped(page, running, repository):
    page.get_by_role("button", name="Compare version 2").click()
    page.get_by_label("Share of the requests, in percent").fill("100")
    page.get_by_label("Share of the requests, in percent").press("Enter")
    expect(row_of(page, 2)).to_contain_text("shadow")
    assert repository.shadow("tiny").share == 1
    running.classify({"node_ids": [100, 105, 110]})
    expect(page.locator("#agreement")).to_contain_text("of 3 rows")
    page.get_by_role("button", name="Stop the shadow").click()
    confirm(page, "Stop")
    expect(page.locator("#versions-done")).to_have_text("The shadow has stopped.")
    expect(page.locator("#agreement")).to_have_count(0)
    assert repository.shadow("tiny") is None


def test_no_share_is_no_shadow_and_can_be_cancelled(page, repository):
    page.get_by_role("button", name="Compare version 2").click()
    page.get_by_label("Share of the requests, in percent").fill("")
    confirm(page, "Start the shadow")
    expect(page.get_by_role("dialog")).to_be_visible()
    confirm(page, "Cancel")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert repository.shadow("tiny") is None


def test_a_shadow_that_rests_is_not_said_to_compute(page, running, repository):
    repository.set_shadow("tiny", ShadowSpec(1, 0.5))
    page.reload()
    give_key(page)
    expect(page.locator("#agreement")).to_contain_text("It computes nothing now")
    repository.clear_shadow("tiny")


def test_a_refused_version_is_told_and_changes_nothing(page):
    page.get_by_role("button", name="Promote version 4").click()
    confirm(page, "Promote")
    expect(page.locator("#versions-error")).to_contain_text("expected")
    expect(row_of(page, 1)).to_contain_text("in service")


def test_what_callers_will_notice_is_told_with_a_promotion(page):
    page.get_by_role("button", name="Promote version 5").click()
    confirm(page, "Promote")
    expect(page.locator("#versions-done")).to_have_text(
        "Version 5 is in service. It is the same as version 1, byte for byte."
    )


def test_a_version_that_others_promote_is_taken_up_and_the_focus_stays(page, running, repository):
    expect(row_of(page, 1)).to_contain_text("in service")
    page.get_by_role("button", name="Promote version 4").focus()
    repository.promote("tiny", 2)
    expect(page.locator("#served")).to_contain_text("Version2")
    expect(row_of(page, 2)).to_contain_text("in service")
    expect(page.get_by_role("button", name="Promote version 4")).to_be_focused()
