"""Logging: one structured line per event on stderr, the web server's own lines included.

No write of the log may change what the service does, so all of them go through a `LogWriter`.
"""

import atexit
import faulthandler
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final, Literal, TextIO, cast

import structlog
from pydantic_core import to_json
from structlog.typing import EventDict, Processor, WrappedLogger

from rbm_service.observability.log_writer import LogWriter

LogFormat = Literal["json", "console"]

STDERR: Final = 2
FLUSH_SECONDS: Final = 1.0  # that the end of the process waits for the last lines

_writer: LogWriter | None = None  # as soon as the log is set up
_writes_access_lines = False

log = structlog.get_logger(__name__)


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Set up structlog, the standard library's root logger and `sys.stderr`; called once, at start."""
    global _writer, _writes_access_lines
    descriptor = _stderr_descriptor()
    render = _Renderer([_as_json] if log_format == "json" else _for_humans(descriptor))
    _writer = LogWriter(partial(os.write, descriptor), partial(render, None, "info"), descriptor)
    _writes_access_lines = logging.getLevelNamesMapping()[level.upper()] <= logging.INFO
    structlog.configure(
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _writer)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_writer)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[meta, render]))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    sys.stderr = _writer  # warnings, tracebacks of threads, and whatever else Python itself has to say
    _unblock_faulthandler(descriptor)
    atexit.register(flush_logs)


def flush_logs() -> None:
    """Wait until the lines so far are written, for a moment at most: before the process ends."""
    if _writer is not None:
        _writer.drain(FLUSH_SECONDS)


def log_access(**fields: object) -> None:
    """Write the access line of a request that is over."""
    if _writer is None:
        log.info("request", **fields)
    elif _writes_access_lines:
        fields["event"] = "request"
        fields["timestamp"] = time.time_ns()
        _writer.put(fields)


class _Renderer:
    """Makes a line of an event, whatever its fields hold; the only processor of structlog."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        self._processors = processors

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Return the line of an event at level `method`."""
        try:
            rendered: Any = dict(event)  # which processors take apart
            for processor in self._processors:
                rendered = processor(logger, method, rendered)
            return str(rendered)
        except Exception as error:  # noqa: BLE001 - the unit of work is this line
            shown = {name: value for name, value in event.items() if isinstance(value, str | int)}
            shown["timestamp"] = _timestamp(time.time_ns())
            return json.dumps({**shown, "level": method, "not_rendered": ascii(error)})


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Render all at once, where structlog would have a chain of processors."""
    event["level"] = method
    event["timestamp"] = _timestamp(event.get("timestamp") or time.time_ns())
    if event.get("exc_info"):
        structlog.processors.format_exc_info(logger, method, event)
    return to_json(event, fallback=repr).decode()


def _timestamp(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return f"{_to_the_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    """Return a moment since 1970, in UTC: the same for hundreds of lines."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _for_humans(descriptor: int) -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=os.isatty(descriptor)),
    ]


def _stderr_descriptor() -> int:
    """Return the descriptor of stderr. Where it was closed before the start, take its place, or the next file
    or connection would: nobody reads the log then."""
    if sys.stderr is not None:
        return STDERR
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < STDERR:
        pass
    return descriptor


def _unblock_faulthandler(descriptor: int) -> None:
    """Let `python -X faulthandler` lose what nobody reads: it would keep a dying process from its end."""
    if faulthandler.is_enabled():
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
        with suppress(OSError):  # a socket, or a pipe of another user: it stays as it is
            faulthandler.enable(os.open(f"/proc/self/fd/{descriptor}", flags))
