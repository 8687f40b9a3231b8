"""A teacher that suits the data: of several candidates the best two on validation answer together."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rbm_training.config import TeacherConfig
from rbm_training.config.teacher import CANDIDATES
from rbm_training.teachers.ensemble import Member

NUM_CHOSEN: Final = 2
MIN_CANDIDATES: Final = 3  # that have their turn, however large the graph is

TrainCandidate = Callable[[TeacherConfig], Member]


def candidate(config: TeacherConfig, described: Mapping[str, Any]) -> TeacherConfig:
    """A candidate of kind `auto`; what the experiment says of all teachers holds for it."""
    common = config.model_dump(exclude={"hops", "budget"})
    hops = {"hops": config.hops} if described["kind"] == "sign" else {}
    return TeacherConfig.model_validate({**common, **described, **hops})


def best_members(
    config: TeacherConfig, baseline: Member, train: TrainCandidate, epoch_cost: int
) -> list[Member]:
    """Train one candidate after the other until the budget is used up; return the best two.

    Args:
        baseline: a candidate that is trained already.
        epoch_cost: edges and feature values that an epoch passes over.
    """
    members, spent = [baseline], 0
    most_epochs = max(1, min(config.max_epochs, config.budget // (MIN_CANDIDATES * epoch_cost)))
    for described in CANDIDATES:
        if spent >= config.budget:
            break
        members.append(train(candidate(config, {**described, "max_epochs": most_epochs})))
        spent += members[-1].num_epochs * epoch_cost
    return sorted(members, key=lambda member: member.best.preference, reverse=True)[:NUM_CHOSEN]
