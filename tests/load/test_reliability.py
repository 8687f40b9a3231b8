import json
from pathlib import Path

from tests.load.reliability import render

ROOT = Path(__file__).parents[2]


def test_the_page_says_what_was_measured():
    results = json.loads((ROOT / "soak.json").read_text())
    assert (ROOT / "docs" / "reliability.md").read_text() == render(results)
