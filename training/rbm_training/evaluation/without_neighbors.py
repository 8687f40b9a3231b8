"""How good a student is at nodes of which no neighbour is known, in words."""

from typing import Final

from rbm_bundle.manifest_parts import Setting
from rbm_training.config import ExperimentConfig

TOLERATED: Final = 0.01  # below logistic regression
FIRST_RATE: Final = 0.1
HIGHEST_RATE: Final = 0.5


def in_words(setting: Setting, student: float, baseline: float) -> str:
    """The accuracy on test nodes as if no neighbour were known, beside logistic regression's.

    In the transductive setting these nodes are not new: what the teacher says of them was learnt.
    """
    told = f"{_percent(student)} (logistic regression {_percent(baseline)})"
    if setting == "inductive":
        return f"A new node of which no neighbour is known: {told}."
    return (
        f"A known node without its position: {told}. The student has learnt what the teacher says of it;"
        ' dataset.setting = "inductive" measures new nodes.'
    )


def advice(config: ExperimentConfig, student: float | None, baseline: float | None) -> list[str]:
    """What to do where logistic regression is the better one at such nodes; nothing for a student without
    positions."""
    if student is None or baseline is None or baseline - student <= TOLERATED or config.compat == "released":
        return []
    return [
        f"of nodes without a known neighbour the student gets {_percent(student)} right, logistic regression"
        f" {_percent(baseline)}; {_change(config.distill.position_dropout)}"
    ]


def _change(rate: float) -> str:
    """What is left to try where this share of the nodes was learnt without a position."""
    if rate >= HIGHEST_RATE:
        return 'where many requests are such, student.kind = "linear" serves them better'
    change = (
        f"raise distill.position_dropout from {rate}"
        if rate
        else f"set distill.position_dropout = {FIRST_RATE}"
    )
    return f"{change}, which shows it such nodes"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
