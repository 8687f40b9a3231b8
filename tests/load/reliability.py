"""docs/reliability.md, rendered from the results of `make soak`; no figure on that page is typed by hand."""

from collections.abc import Mapping
from pathlib import Path

from tests.load.performance import Value

TEMPLATE = Path(__file__).with_suffix(".template.md")


def render(results: Mapping[str, Value]) -> str:
    """The page.

    Raises:
        KeyError: a result is missing.
    """
    return TEMPLATE.read_text().format(**results)
