"""What the command line tells in one line: the base of training's errors, and how names are suggested."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class TrainingError(Exception):
    """Something that `rbm-train` was asked to do and cannot; the text is all that its user needs."""


def suggestion(found: object, known: Iterable[str]) -> str:
    """`; did you mean "…"?` with the known name nearest to what was found; empty where none is near."""
    return did_you_mean(get_close_matches(str(found), known, n=1))


def did_you_mean(names: Sequence[str]) -> str:
    """The end of a message that suggests these names; empty without any."""
    quoted = " or ".join(f'"{name}"' for name in names)
    return f"; did you mean {quoted}?" if names else ""
