"""The page as a whole: for everybody, on every screen, behind a proxy, and safe from what a bundle says."""

import json

import pytest

from tests.servers import running_server

expect = pytest.importorskip("playwright.sync_api").expect
Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
CARD = """# A <b>card</b>

<img src=x onerror=document.title='taken'> and `code`

| measured | |
|---|--:|
| accuracy | 0.9 |
| - | - |

|---|

- one
- two

```
<script>document.title = "taken"</script>
```
"""


def fill(page):
    """Have every part of the page show something."""
    page.get_by_label("Node id").fill("105")
    page.get_by_label("Node id").press("Enter")
    page.get_by_text("The request as a command").click()
    page.get_by_role("button", name="Key", exact=True).click()
    expect(page.locator("[data-name=requests]")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("model", ["tiny", "records"])
def test_axe_finds_nothing_serious(visit, server, scheme, model):
    page = visit(server, color_scheme=scheme)
    fill(page)
    page.get_by_label("Model", exact=True).select_option(model)
    if model == "records":
        page.get_by_label("A new one, by its record").check()
    expect(page.locator("#card h3").first).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_nothing_is_wider_than_a_small_screen(visit, server):
    page = visit(server, viewport={"width": 360, "height": 740})
    fill(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_label("Model", exact=True).select_option("records")
    page.get_by_label("A new one, by its record").check()
    expect(page.get_by_label("section", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_it_works_under_a_prefix(visit, models_dir, tmp_path):
    with running_server(models_dir, tmp_path / "log", root_path="/rbm") as running:
        page = visit(running, "/rbm/")
        fill(page)
        expect(page.locator("#answer-summary")).to_contain_text("blue")
        expect(page.locator("#curl")).to_contain_text(f"{running.url}/rbm/classify")


def test_a_service_that_is_not_ready_is_waited_for(visit, server):
    problem = {"status": 503, "json": {"detail": "no model is in service yet", "code": "warming"}}
    page = visit(server, answers={"**/info": problem})
    expect(page.get_by_role("alert")).to_have_text("no model is in service yet.")
    page.unroute("**/info")
    expect(page.get_by_label("Node id")).to_be_visible()
    expect(page.locator("#health")).to_have_text("ready")


def test_what_the_model_takes_is_listed(visit, server):
    info = json.loads(server.get("/info"))
    info["features"]["names"] = [f"width {number}" for number in range(12)]
    page = visit(server, answers={"**/info": {"json": info}})
    expect(page.locator("#facts")).to_contain_text("width 11")
    page.get_by_label("Model", exact=True).select_option("records")
    fields = page.get_by_role("table", name="Fields of a record")
    expect(fields.get_by_role("row", name="section category 4 a, b, c")).to_be_visible()


def test_a_card_is_text_and_never_markup(visit, server):
    page = visit(server, answers={"**/model-card?*": {"body": CARD, "content_type": "text/markdown"}})
    card = page.locator("#card")
    expect(card.get_by_role("heading")).to_have_text("A <b>card</b>")
    expect(card.get_by_role("cell", name="0.9")).to_be_visible()
    expect(card.get_by_role("cell", name="-", exact=True)).to_have_count(2)
    expect(card.get_by_role("listitem")).to_have_text(["one", "two"])
    expect(card.locator("pre")).to_have_text('<script>document.title = "taken"</script>')
    assert card.locator("img, script, b").count() == 0
    assert page.title() == "Routing by Memory"
