"""The time that is written into what a run makes."""

import os
from datetime import UTC, datetime

from rbm_training.errors import TrainingError

VARIABLE = "SOURCE_DATE_EPOCH"


def time_of_making() -> str:
    """Return the time in UTC, ISO 8601 to the second; `SOURCE_DATE_EPOCH` where that is set, so that what is
    made twice is the same.

    Raises:
        TrainingError: the variable holds no time.
    """
    given = os.environ.get(VARIABLE)
    try:
        moment = datetime.now(UTC) if given is None else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        raise TrainingError(f"{VARIABLE}: found {given!r}; wanted whole seconds since 1970") from None
    return moment.isoformat(timespec="seconds")
