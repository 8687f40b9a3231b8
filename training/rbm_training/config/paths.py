"""Paths in experiments, comparisons and searches: relative to the file that names them, absolute for whoever
reads them, and by their last name alone where they are kept: what is kept must not depend on the place where
data lay.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

PATHS: Final = frozenset(
    {
        ("dataset", "root"),
        ("dataset", "path"),
        ("teacher", "logits"),
        ("", "data_root"),  # of a comparison
        ("", "experiments"),
        ("", "experiment"),  # of a search
    }
)
"""Fields that are paths, each with its table, wherever in a document that stands."""


def with_absolute_paths(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same document, its relative paths made absolute, from a folder."""

    def absolute(path: str) -> str:
        return os.path.abspath(folder / path)  # noqa: PTH100 - a link keeps its name, by which data are called

    return _with_paths(document, absolute)


def with_bare_paths(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same document, with the last part alone of its paths."""
    return _with_paths(document, lambda path: Path(path).name)


def _with_paths(document: Mapping[str, Any], change: Callable[[str], str], table: str = "") -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            changed[key] = _with_paths(value, change, key)
        else:
            is_path = (table, key) in PATHS and isinstance(value, str | Path)
            changed[key] = change(str(value)) if is_path else value
    return changed
