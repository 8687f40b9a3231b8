"""The regimes of a comparison as a table."""

from collections.abc import Iterable

from rbm_training.benchmark.regimes import Regime
from rbm_training.benchmark.tables import MISSING, interval, table


def regime_table(regimes: Iterable[Regime]) -> str:
    """A row for each regime: where, the students, both differences, and whether fresh seeds confirm it."""
    header = ["dataset", "setting", "protocol", "teacher", "student", "rival"]
    numbers = ["validation, seeds 0 to 4", "test, fresh seeds", "fresh seeds", "p (Holm)", "confirmed"]
    rows = [_row(regime) for regime in regimes]
    return table([*header, *numbers], rows, num_text_columns=len(header))


def _row(regime: Regime) -> list[str]:
    cell, fresh = regime.cell, regime.fresh
    num_fresh = 0 if fresh is None else fresh.num_seeds
    return [
        *(cell.dataset, cell.setting, cell.protocol, cell.teacher, regime.method, regime.rival),
        interval(regime.named, regime.named.num_seeds),
        interval(fresh, num_fresh),
        str(num_fresh),
        MISSING if regime.p_value is None else f"{regime.p_value:.2g}",
        _verdict(regime),
    ]


def _verdict(regime: Regime) -> str:
    if regime.p_value is None:
        return "too few fresh seeds"
    return "**yes**" if regime.is_confirmed else "no"
