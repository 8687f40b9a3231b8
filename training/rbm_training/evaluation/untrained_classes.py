"""Classes that a split leaves without a training label, in words."""

from collections.abc import Mapping
from typing import Final

MOST_NAMED: Final = 12


def in_words(classes: Mapping[str, int]) -> str:
    """What is to be said of such classes, by name and number of test nodes; nothing where there are none."""
    told = [
        f"class {name!r} has no training label{_of_test(num_nodes)}"
        for name, num_nodes in list(classes.items())[:MOST_NAMED]
    ]
    more = len(classes) - len(told)
    return "; ".join(told + ([f"and so have {more:,} more classes"] if more else []))


def _of_test(num_nodes: int) -> str:
    if not num_nodes:
        return " and no test node"
    return f", so its {num_nodes:,} test node{'s' if num_nodes > 1 else ''} cannot be right"
