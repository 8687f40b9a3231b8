"""Whatever a user can set, run or read is documented; `test_api_page` does the same for routes and errors."""

import re
from pathlib import Path

import pytest

from rbm_bundle.manifest import Manifest
from rbm_service.observability.metrics import Metrics
from rbm_service.settings import ENV_PREFIX, Settings
from tests.system.experiments_page import render

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md"), ROOT / "models" / "README.md"]


def words_of(*pages: Path) -> set[str]:
    """Everything between backticks, whole and word by word."""
    quoted = [code for page in pages for code in re.findall(r"`([^`\n]+)`", page.read_text())]
    return {word for code in quoted for word in (code, *re.split(r"[\s{=(,]", code))}


def test_every_setting_is_documented():
    settings = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert settings <= words_of(DOCS / "operations.md")


def test_every_metric_is_documented():
    families = [family for family in Metrics().registry.collect() if family.name.startswith("rbm_")]
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert len(names) > 20
    assert names <= words_of(DOCS / "operations.md")


def test_every_make_target_is_documented():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "demo" in targets
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    assert [target for target in targets if not re.search(rf"\bmake {target}(?![a-z-])", text)] == []


def test_every_manifest_field_is_documented():
    assert set(Manifest.model_fields) <= words_of(DOCS / "bundle.md")


def test_the_page_of_experiments_is_what_their_descriptions_say():
    assert (DOCS / "experiments.md").read_text() == render()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
