"""The line that every request leaves in the log.

Those of all requests that one turn of the event loop has answered are written together, when everyone has the
answer: together, they cost a third of what they do one by one, each when everything that it needs has long
left the caches of the processor.
"""

import asyncio

import structlog

from rbm_service.logs import info_each

log = structlog.get_logger(__name__)


class AccessLog:
    """Lines that are not written yet; belongs to one event loop."""

    def __init__(self) -> None:
        self._log = log.bind()
        self._lines: list[dict[str, object]] = []

    def note(self, **fields: object) -> None:
        """Let a request that is over have its line in this turn of the loop."""
        self._lines.append(fields)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        info_each(self._log, "request", lines)
