"""Names are the field's own: the private ones of an earlier design do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for room in ("bundle", "clients", "service", "training", "examples", "tests")
    for path in (ROOT / room).rglob("*.py")
)
WORDS = {
    *("stranger", "strangers", "portrait", "portrayal", "portray", "peer", "peers", "distiller", "sights"),
    *("tenure", "journal", "surroundings"),
}
NAMES = {
    *("made_of", "forget_best", "clone_first", "memory_start", "revive_after", "equal_cost", "answer_all"),
    *("Prepared", "Selection", "Part", "LONG_AGO", "BEATS", "LOOKS"),
}

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OLD_FIELDS = {"sharpness", "expert_layers", "equal_cost", "memory_start", "revive_after", "revives"}
IN_PROSE = OLD_FIELDS | {"stranger", "strangers", "portrait", "distiller", "sights"}


def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("name", "id", "attr", "arg", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


def words_of(name: str) -> set[str]:
    return {word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_identifier_is_a_word_of_the_earlier_design(path):
    for name in names_in(ast.parse(path.read_text())):
        found = (words_of(name) & WORDS) | ({name} & NAMES)
        assert not found, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_speaks_of_the_earlier_design(page):
    assert set(re.findall(r"\w+", page.read_text().lower())) & IN_PROSE == set()
