"""Writes the log beside the service: whoever logs never waits, and never learns that a write went wrong.

Lines wait in a bounded queue for one thread that writes them to stderr. When nobody reads stderr, that thread
stands still, the queue fills, and further lines are lost and counted; the same where a write fails, as on a
full disk or when the reader has gone.
"""

import io
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from rbm_service.observability.families import Number

MAX_WAITING: Final = 10_000  # lines
GATHER_SECONDS: Final = 0.01  # lines that come so close together are one write
RETRY_SECONDS: Final = 0.05  # where stderr does not block

Fields = dict[str, Any]
Item = str | Fields | threading.Event  # text, what a line is made of, or who waits for the lines so far

num_dropped: Final = Number()  # lines of this process that were lost


class LogWriter(io.TextIOBase):
    """Takes the place of `sys.stderr`.

    Args:
        write: writes bytes, or the first of them, and says how many; `os.write` of a descriptor.
        render: makes a line of what was given to `put`, in the writer's thread.
        descriptor: of stderr, for whoever asks.
    """

    def __init__(
        self,
        write: Callable[[memoryview], int],
        render: Callable[[Fields], str] = repr,
        descriptor: int | None = None,
    ) -> None:
        self._write_some = write
        self._render = render
        self._descriptor = descriptor
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._is_torn = False  # the last write ended within a line

    def put(self, item: str | Fields) -> None:
        """Have a text written, or a line made of some fields."""
        if self._queue.qsize() >= MAX_WAITING:
            num_dropped.inc(1 if isinstance(item, dict) else item.count("\n"))
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
        return super().fileno() if self._descriptor is None else self._descriptor

    def drain(self, seconds: float) -> None:
        """Wait until everything so far is written, but no longer than this."""
        written = threading.Event()
        self._queue.put(written)
        if self._thread is not None:
            written.wait(seconds)

    def _start(self) -> None:
        """Begin to write; where no thread can be had at the moment, the next line tries again."""
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="rbm-log", daemon=True)
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while True:
            items = [self._queue.get()]
            time.sleep(GATHER_SECONDS)
            items += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            text = "".join([self._text_of(item) for item in items])
            self._write_all(text.encode("utf-8", "backslashreplace"))
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()

    def _text_of(self, item: Item) -> str:
        if isinstance(item, str):
            return item
        try:
            return self._render(item) + "\n" if isinstance(item, dict) else ""
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
                time.sleep(RETRY_SECONDS)
            except Exception:  # noqa: BLE001 - the unit of work is this text
                num_dropped.inc(min(bytes(rest).count(b"\n"), text.count(b"\n")))
                return
            else:
                self._is_torn = rest[written - 1] != ord("\n")
                rest = rest[written:]
