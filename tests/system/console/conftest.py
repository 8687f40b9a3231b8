"""Chromium, the services that it looks at, and pages that reach nothing but them."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from rbm_bundle import read_bundle, write_bundle
from rbm_bundle.node_map import NodeMap
from tests.bundles import RECORDS, TINY, draft_of, repository_of, with_map
from tests.chromium import CHROMIUM, why_no_chromium
from tests.servers import running_server

# No name leads anywhere, and no address but that of the services.
ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
SECONDS = 1000


@pytest.fixture(scope="package")
def browser():
    """One browser for all of these tests, and not for longer: it keeps asyncio from being used."""
    if reason := why_no_chromium():
        pytest.skip(reason)
    from playwright.sync_api import expect, sync_playwright  # which the extra `dev` makes importable

    expect.set_options(timeout=20 * SECONDS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def server(browser, tmp_path_factory):
    """A service without keys, of a model that takes features and of one that takes records."""
    root = tmp_path_factory.mktemp("console")
    for folder in (with_corners(root).path, RECORDS):
        repository_of(root / "models", folder)
    with running_server(root / "models", root / "log", model="tiny,records") as running:
        yield running


def with_corners(folder):
    """The tiny bundle with a map of five nodes, at the corners and in the middle of a square."""
    draft = draft_of(with_map(read_bundle(TINY), folder / "two nodes"))
    corners = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1], [0, 0]], np.float32)
    node_map = NodeMap(
        rows=np.arange(5, dtype=np.int32),
        points=corners,
        classes=np.array([0, 2, 1, 0, 2], np.int32),
        experts=np.array([0, 1, 2, 3, 0], np.int32),
        memory=corners[:4] / 2,
    )
    spec = draft.manifest.map.model_copy(update={"num_nodes": 5})
    manifest = draft.manifest.model_copy(update={"map": spec})
    return write_bundle(folder / "five nodes", replace(draft, manifest=manifest, node_map=node_map))


@pytest.fixture
def visit(browser):
    """Opens the console of a service, with some of its answers replaced where a test says so.

    A request to anyone else, or a complaint of the browser, fails the test.
    """
    complaints = []

    def visit(server, path="/", answers=None, **options):
        context = browser.new_context(**options)
        opened.callback(context.close)
        context.set_default_timeout(20 * SECONDS)
        page = context.new_page()
        page.on("request", lambda request: hear(request.url, not request.url.startswith(f"{server.url}/")))
        page.on("pageerror", lambda error: hear(str(error), True))
        page.on("console", lambda said: hear(said.text, said.type == "error" and not is_refusal(said.text)))
        for pattern, answer in (answers or {}).items():
            page.route(pattern, lambda route, request, answer=answer: route.fulfill(**answer))
        page.goto(server.url + path)
        return page

    def hear(what, is_complaint):
        if is_complaint:
            complaints.append(what)

    with ExitStack() as opened:
        yield visit
    assert complaints == []


def is_refusal(text):
    """Whether the browser says no more than that a request was refused, or could not be sent."""
    return text.startswith("Failed to load resource: ")
