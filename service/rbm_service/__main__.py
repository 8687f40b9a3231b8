"""`rbm-serve`: obeys signals first, then does the rest.

Process 1 of a container ignores SIGTERM for as long as it has no handler for it, and what `command` imports
takes seconds. So nothing but the standard library is imported before the handlers are there.
"""

import os
import signal
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rbm-serve`; see `command.run`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to look at
    from rbm_service.command import run

    return run(arguments)


def _stop(signal_number: int, frame: FrameType | None) -> None:
    """End at once: before the server takes signals over, there is nobody to answer and nothing to close."""
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
