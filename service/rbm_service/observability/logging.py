"""Logging: one structured line per event on stderr, the web server's own lines included.

No write of the log may change what the service does: whoever logs never waits, and never learns that a write
went wrong. So lines wait in a bounded queue for one thread that writes them. When nobody reads stderr, that
thread stands still, the queue fills, and further lines are lost and counted; the same where a write fails, as
on a full disk or when the reader has gone.
"""

import atexit
import faulthandler
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import Final, Literal, TextIO, cast

import structlog
from pydantic_core import to_json
from structlog.dev import ConsoleRenderer
from structlog.typing import EventDict, Processor, WrappedLogger

from rbm_service.observability.families import Number

STDERR: Final = 2
MAX_WAITING: Final = 10_000  # lines
num_dropped: Final = Number()  # lines of this process that were lost

log = structlog.get_logger(__name__)


class LogWriter(io.TextIOBase):
    """Takes the place of `sys.stderr`.

    Args:
        write: writes bytes, or the first of them, and says how many; `os.write` of a descriptor.
        render: makes a line of what was given to `put`, in the writer's thread.
        descriptor: of stderr, for whoever asks.
    """

    def __init__(
        self, write: Callable[[memoryview], int], render: Callable[[EventDict], str], descriptor: int = STDERR
    ) -> None:
        self._write_some = write
        self._render = render
        self._descriptor = descriptor
        self._queue: SimpleQueue[str | EventDict | threading.Event] = SimpleQueue()  # events: see `drain`
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._is_torn = False  # the last write ended within a line

    def put(self, item: str | EventDict) -> None:
        """Have a text written, or a line made of some fields."""
        if self._queue.qsize() >= MAX_WAITING:
            num_dropped.inc(item.count("\n") if isinstance(item, str) else 1)
            return
        self._queue.put(item)
        if self._thread is None:
            self._start()

    def write(self, text: str, /) -> int:
        """Have a text written."""
        self.put(text)
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor of stderr."""
        return self._descriptor

    def drain(self, seconds: float) -> None:
        """Wait until everything so far is written, but no longer than this."""
        written = threading.Event()
        self._queue.put(written)
        if self._thread is not None:
            written.wait(seconds)

    def _start(self) -> None:
        """Begin to write; where no thread can be had at the moment, the next line tries again."""
        with self._starting, suppress(RuntimeError):
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="rbm-log", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            items = [self._queue.get()]
            time.sleep(0.01)  # lines that come so close together are one write
            items += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            texts = [self._text_of(item) for item in items if not isinstance(item, threading.Event)]
            self._write_all("".join(texts).encode("utf-8", "backslashreplace"))
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()

    def _text_of(self, item: str | EventDict) -> str:
        try:
            return item if isinstance(item, str) else self._render(item) + "\n"
        except Exception:  # noqa: BLE001 - the unit of work is this line
            num_dropped.inc()
            return ""

    def _write_all(self, text: bytes) -> None:
        """Write a text; what cannot be written is lost. A line that was cut off is ended before the next."""
        rest = memoryview(b"\n" + text if self._is_torn and text else text)
        while rest:
            try:
                written = self._write_some(rest)
            except BlockingIOError:
                time.sleep(0.05)  # stderr does not block, and has no room at the moment
            except Exception:  # noqa: BLE001 - the unit of work is this text
                num_dropped.inc(min(bytes(rest).count(b"\n"), text.count(b"\n")))
                return
            else:
                self._is_torn = rest[written - 1] != ord("\n")
                rest = rest[written:]


_writer: LogWriter | None = None  # as soon as the log is set up
_access_writer: LogWriter | None = None  # the same, at a level that has access lines


def configure_logging(log_format: Literal["json", "console"], level: str) -> None:
    """Set up structlog, the standard library's root logger and `sys.stderr`; called once, at start."""
    global _writer, _access_writer
    descriptor = _stderr_descriptor()
    as_text = _as_json if log_format == "json" else ConsoleRenderer(colors=os.isatty(descriptor))
    render = partial(_render, as_text)
    _writer = LogWriter(partial(os.write, descriptor), partial(render, None, "info"), descriptor)
    _access_writer = _writer if logging.getLevelNamesMapping()[level.upper()] <= logging.INFO else None
    structlog.configure(
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _writer)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_writer)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(render))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    sys.stderr = _writer  # warnings, tracebacks of threads, and whatever else Python itself has to say
    _unblock_faulthandler(descriptor)
    atexit.register(flush_logs)


def flush_logs() -> None:
    """Wait until the lines so far are written, for a second at most: before the process ends."""
    if _writer is not None:
        _writer.drain(seconds=1.0)


def log_access(fields: EventDict) -> None:
    """Write the access line of a request that is over; the writer's thread makes it."""
    if _access_writer is None:
        log.info("request", **fields)  # a call of nothing, where the level leaves it out
    else:
        fields["event"], fields["timestamp"] = "request", time.time()
        _access_writer.put(fields)


def _render(as_text: Processor, logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Make a line of an event at level `method`, whatever its fields hold; structlog's only processor."""
    given = event.get("timestamp")  # of an access line
    more = {"timestamp": _as_text(given if isinstance(given, float) else time.time()), "level": method}
    try:
        return str(as_text(logger, method, {**event, **more}))
    except Exception as error:  # noqa: BLE001 - the unit of work is this line
        shown = {name: value for name, value in event.items() if isinstance(value, str | int)}
        return json.dumps(shown | more | {"not_rendered": ascii(error)})


def _as_text(seconds: float) -> str:
    """Return a moment of the system's clock as a log has it."""
    second = int(seconds)
    return f"{_second_as_text(second)}.{int(1e6 * (seconds - second)):06d}Z"


@lru_cache(maxsize=1)
def _second_as_text(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    if event.get("exc_info"):
        structlog.processors.format_exc_info(logger, method, event)
    return to_json(event, fallback=repr).decode()


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
