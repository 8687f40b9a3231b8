"""Logging: one structured line per event on stderr, the web server's own lines included."""

import logging
import sys
import time
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
    says_info = logging.getLevelNamesMapping()[level.upper()] <= logging.INFO
    structlog.configure(
        processors=processors,
        wrapper_class=_direct(filtering) if log_format == "json" and says_info else filtering,
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[meta, *processors]))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """All at once: as a chain of processors, a line would cost a request more than its answer's JSON."""
    event["level"] = method
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    event["timestamp"] = f"{_to_the_second(seconds)}.{nanoseconds // 1000:06d}Z"
    if event.get("exc_info"):
        structlog.processors.format_exc_info(logger, method, event)
    return to_json(event, fallback=repr).decode()


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    """A moment since 1970, in UTC: the same for hundreds of lines."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _direct(filtering: type[FilteringBoundLogger]) -> type[FilteringBoundLogger]:
    """A logger whose `info` goes straight to the one processor: every request says one such line."""

    class Direct(filtering):  # type: ignore[valid-type, misc]  # a class that structlog makes
        def info(self, event: str, **fields: object) -> None:
            try:
                line = self._processors[0](self._logger, "info", {**self._context, **fields, "event": event})
            except structlog.DropEvent:
                return
            self._logger.msg(line)

    return Direct


def _for_humans() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    ]
