"""Logging: one structured line per event on stderr, the web server's own lines included."""

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import structlog
from pydantic_core import to_json
from structlog.typing import EventDict, Processor

LogFormat = Literal["json", "console"]


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Set up structlog, and the standard library's root logger in the same shape; called once, at start."""
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering = _rendering(log_format)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[meta, *rendering])
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _rendering(log_format: LogFormat) -> list[Processor]:
    if log_format == "console":
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]


def _to_json(event: EventDict, default: Callable[[Any], Any]) -> str:
    return to_json(event, fallback=default).decode()
