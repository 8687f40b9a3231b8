"""The two protocols are one on graphs without a published split: what was run under one stands under both."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from rbm_training.benchmark.records import Protocol, RunLine

RANDOM_UNDER_BOTH: Final = frozenset(
    {"amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics"},
)
OTHER: Final[dict[Protocol, Protocol]] = {"cpf": "public", "public": "cpf"}


def under_both_protocols(lines: Iterable[RunLine]) -> list[RunLine]:
    """The runs, and those of graphs that both protocols split alike once more under the other protocol.

    Only beside runs that were made under that protocol, in the same setting and with the same teacher: a
    comparison under one protocol has no tables of the other.
    """
    runs = list(lines)
    known = {line.identity for line in runs}
    peopled = {(line.protocol, line.setting, line.teacher) for line in runs}
    for line in list(runs):
        other = OTHER[line.protocol]
        is_wanted = line.dataset in RANDOM_UNDER_BOTH and (other, line.setting, line.teacher) in peopled
        if is_wanted and replace(line.identity, protocol=other) not in known:
            runs.append(line.model_copy(update={"protocol": other}))
    return runs
