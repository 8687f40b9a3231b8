"""The docs as a site: `make docs` builds it strictly, and reading it asks nobody else for anything."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href"}
LINKED = {"a": "href"}


def build(root: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(root / "mkdocs.yml")]
    return subprocess.run(
        [*command, "-d", str(folder)], check=False, capture_output=True, text=True, timeout=300
    )


def addresses(page: Path, attributes: dict[str, str]) -> list[str]:
    """What these attributes of these elements hold."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(value for name, value in attrs if name == attributes.get(tag) and value)

    Reader().feed(page.read_text())
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)  # refuses links and anchors that lead nowhere, and pages that are in no menu
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_docs_is_on_the_site(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    assert pages | {Path("index.html"), Path("contributing.html"), Path("client.html")} <= built


def test_links_between_readme_docs_and_decisions_lead_to_pages(site):
    assert "operations.html" in addresses(site / "index.html", LINKED)
    assert "decisions/0018-raw-records-in-two-parts.html" in addresses(site / "architecture.html", LINKED)
    own = [link for page in site.rglob("*.html") for link in addresses(page, LINKED) if "//" not in link]
    assert len(own) > 100
    assert [link for link in own if ".md" in link or ".py" in link] == []


def test_tables_in_folds_are_tables(site):
    page = (site / "results.html").read_text()
    assert "<details" in page
    assert re.findall(r"^\|.*", page, re.MULTILINE) == []


def test_no_page_loads_anything_from_elsewhere(site):
    loaded = [address for page in site.rglob("*.html") for address in addresses(page, LOADED)]
    assert len(loaded) > 100
    assert [address for address in loaded if "//" in address] == []
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert "@import" not in styles
    assert "url(http" not in styles.replace('"', "").replace("'", "")


@pytest.mark.parametrize("link", ["nowhere.md", "operations.md#nothing-of-this-name"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path, link):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "clients/python/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "own-graph.md").open("a") as page:
        page.write(f"\nSee [there]({link}).\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert link in done.stderr
