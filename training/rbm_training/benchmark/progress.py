"""What a comparison tells while it runs: a bar with an estimate, and a line for every run that ended."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rbm_training.benchmark.records import RunLine


class ComparisonProgress:
    """Progress on the terminal. Use it as a context manager."""

    def __init__(self, num_planned: int, num_done: int, console: Console | None) -> None:
        self._console = console or Console(stderr=True, quiet=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("about"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            speed_estimate_period=3600,
        )
        self._task = self._progress.add_task("runs", total=num_planned - num_done)
        if num_done:
            self._console.print(f"{num_done} of {num_planned} runs are done already")

    def __enter__(self) -> "ComparisonProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def finished(self, line: RunLine) -> None:
        """A run has its line."""
        accuracies = f"test {line.test_accuracy:.3f}, teacher {line.teacher_test_accuracy:.3f}"
        self._console.print(
            f"{line.identity}: {accuracies}, {line.seconds:.0f} s", highlight=False, soft_wrap=True
        )
        self._progress.advance(self._task)

    def failed(self, what: str, num_runs: int) -> None:
        """Some runs will have none."""
        self._console.print(f"failed: {what}", highlight=False, soft_wrap=True)
        self._progress.advance(self._task, num_runs)
