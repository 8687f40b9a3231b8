"""A cell holds one graph, and of each method one configuration: what was run otherwise stands apart.

Lines of earlier releases, which have no digests, are taken for one configuration.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import Final

from rbm_training.benchmark.records import RunLine

SHOWN_DIGITS: Final = 6
OF_BEFORE: Final = "before"


def apart(lines: Iterable[RunLine]) -> list[RunLine]:
    """Lines whose data sets and methods are named with a few digits of their digests wherever there are
    several of a name: `cora-1f2e3d`, `rbm-0a1b2c`."""
    runs = list(lines)
    runs = _apart(runs, "dataset", lambda run: run.data_digest, lambda run: ())
    return _apart(runs, "method", lambda run: run.config_digest, lambda run: (run.dataset,))


def _apart(
    runs: list[RunLine],
    name: str,
    digest: Callable[[RunLine], str | None],
    place: Callable[[RunLine], tuple[Hashable, ...]],
) -> list[RunLine]:
    def key(run: RunLine) -> tuple[Hashable, ...]:
        return (run.protocol, run.setting, run.teacher, *place(run), getattr(run, name))

    found: dict[tuple[Hashable, ...], set[str | None]] = defaultdict(set)
    for run in runs:
        found[key(run)].add(digest(run))
    return [
        run.model_copy(update={name: f"{getattr(run, name)}-{(digest(run) or OF_BEFORE)[:SHOWN_DIGITS]}"})
        if len(found[key(run)]) > 1
        else run
        for run in runs
    ]
