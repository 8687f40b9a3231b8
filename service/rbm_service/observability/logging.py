"""Logging: one structured line per event on stderr, the web server's own lines included."""

import asyncio
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import structlog
from pydantic_core import to_json
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LogFormat = Literal["json", "console"]


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Set up structlog, and the standard library's root logger in the same shape; called once, at start."""
    processors = [_as_json] if log_format == "json" else _for_humans()
    filtering = structlog.make_filtering_bound_logger(level)
    together = log_format == "json" and logging.getLevelNamesMapping()[level.upper()] <= logging.INFO
    structlog.configure(
        processors=processors,
        wrapper_class=type("Logger", (_Together, filtering), {}) if together else filtering,
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[meta, *processors]))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """All at once, where structlog would have a chain of processors."""
    event["level"] = method
    event["timestamp"] = _timestamp()
    if event.get("exc_info"):
        structlog.processors.format_exc_info(logger, method, event)
    return to_json(event, fallback=repr).decode()


def _timestamp() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{_to_the_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    """A moment since 1970, in UTC: the same for hundreds of lines."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def info_each(log: FilteringBoundLogger, event: str, lines: Sequence[Mapping[str, object]]) -> None:
    """Say the same for each of some lines, at level `info`; as JSON, all of them in one write."""
    if isinstance(log, _Together) and log.writes_json:
        log.write_each(event, lines)
    else:
        for fields in lines:
            log.info(event, **fields)


class _Together(structlog.BoundLoggerBase):
    """A logger that writes many lines of JSON at once: every request leaves one, and by itself a line costs
    more than the answer's JSON."""

    @property
    def writes_json(self) -> bool:
        """Whether nobody else has a say in what becomes of lines, as tests have."""
        return list(self._processors) == [_as_json]

    def write_each(self, event: str, lines: Sequence[Mapping[str, object]]) -> None:
        """One line for each, all of the same moment."""
        same = {**self._context, "event": event, "level": "info", "timestamp": _timestamp()}
        self._logger.msg("\n".join([to_json({**line, **same}, fallback=repr).decode() for line in lines]))


def _for_humans() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    ]


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
