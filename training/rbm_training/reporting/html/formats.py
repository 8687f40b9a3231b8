"""Numbers as the page writes them."""

import math
from collections.abc import Sequence

from rbm_training.evaluation.metrics import mean_and_deviation
from rbm_training.reporting.report_data import Reals

NOTHING = "–"


def percent(share: float, digits: int = 1) -> str:
    """A share as a number of percent, without the sign."""
    return NOTHING if math.isnan(share) else f"{100 * share:.{digits}f}"


def percent_of_seeds(shares: Reals) -> str:
    """Mean over seeds in percent, with the deviation where there are several."""
    mean, deviation = mean_and_deviation(shares.tolist())
    spread = "" if deviation is None or math.isnan(deviation) else f" ± {percent(deviation, 2)}"
    return percent(mean, 2) + spread


def compared(gap: float) -> str:
    """A difference of shares in words: "1.25 points above"."""
    points = f"{100 * abs(gap):.2f}"
    if points == "0.00":
        return "level with"
    return f"{points} points {'above' if gap > 0 else 'below'}"


def count(number: float) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,.0f}"


def three_digits(number: float) -> str:
    """A measured number to three digits, its thousands apart; a dash for one that was not measured."""
    if math.isnan(number):
        return NOTHING
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def listed(words: Sequence[object]) -> str:
    """Words with commas between."""
    return ", ".join(map(str, words))
