"""What a run tells while it works: JSON lines in its folder, and progress on the terminal."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from rbm_bundle.folders import naming
from rbm_training.runtime.progress_lines import ProgressLines

LOG_FILE = "log.jsonl"
Value = str | int | float | bool | None | Mapping[str, Any] | Sequence[str] | Sequence[int]


class Stage:
    """A stretch of work of known length: a bar on a terminal, lines elsewhere."""

    def __init__(self, progress: Progress, title: str, total: int, done: int, lines: ProgressLines) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, completed=done, note="")
        self._lines = lines

    def finish(self) -> None:
        """No more steps will come: what was done is all."""
        self._progress.update(self._task, total=self._progress.tasks[self._task].completed)
        self._lines.finish()

    def conclude(self, note: str) -> None:
        """No more steps will come; the note says what has come of them."""
        self._progress.update(self._task, note=note)
        self._lines.conclude(note)

    def advance(self, note: str = "") -> None:
        """One step done; the note stands beside the bar."""
        self._progress.update(self._task, advance=1, note=note)
        self._lines.advance(note)


class RunLog:
    """Events of one run. Use it as a context manager; events are on disk as soon as they are told.

    Without a folder nothing is written.

    Args:
        clock: seconds, by which progress is told.
    """

    def __init__(
        self,
        folder: Path | None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / LOG_FILE if folder else None
        self._console = console or Console(stderr=True, quiet=True)
        self._clock = clock
        self._file: TextIOWrapper | None = None
        self._progress = Progress(
            TextColumn("{task.description:22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "RunLog":
        if self._path:
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.event("stopped", reason=kind.__name__)
        self._progress.stop()
        if self._file:
            self._file.close()

    def event(self, name: str, **fields: Value) -> None:
        """One JSON line, with the time."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **fields}
        if self._file and self._path:
            with naming(self._path):
                self._file.write(json.dumps(line) + "\n")

    def tell(self, lines: Iterable[tuple[str, str]]) -> None:
        """Write to the terminal, each line beside its title, in the columns of the stages."""
        table = Table.grid(Column(width=22), Column())
        for title, text in lines:
            table.add_row(Text(title), Text(text))
        self._console.print(table)

    def _tell_progress(self, title: str, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(Text(f"{title:26} {text}"), soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: int, done: int = 0) -> Iterator[Stage]:
        """A timed stage: progress for who looks on, `stage_started` and `stage_finished` in the log.

        Args:
            done: steps that an earlier process has done.
        """
        started = time.monotonic()
        self.event("stage_started", stage=title, done=done)
        lines = ProgressLines(self._tell_progress, title, total, done, self._clock)
        stage = Stage(self._progress, title, total, done, lines)
        yield stage
        stage.finish()
        seconds = round(time.monotonic() - started, 3)
        self.event("stage_finished", stage=title, seconds=seconds)
