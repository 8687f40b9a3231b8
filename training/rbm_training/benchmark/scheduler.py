"""Runs what a comparison has not got yet: all cores, one thread a process, a line on disk for each.

The teacher and the positions of a cell (dataset, protocol, setting, teacher, seed) are made once, before its
students, and kept in a folder that all processes read.
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from rbm_bundle.folders import replace_file
from rbm_training.benchmark.digests import planned_digest
from rbm_training.benchmark.frontier_plots import write_frontier
from rbm_training.benchmark.jobs import Cell, Configuration, prepare_cell, run_student
from rbm_training.benchmark.latency import GRAPHS_FOLDER, measure_latencies
from rbm_training.benchmark.page import render_results
from rbm_training.benchmark.plan import PlannedRun
from rbm_training.benchmark.progress import ComparisonProgress
from rbm_training.benchmark.published import load_published
from rbm_training.benchmark.records import ResultsError, ResultsFile, RunLine
from rbm_training.errors import TrainingError
from rbm_training.runtime.environment import git_commit

RESULTS_FILE: Final = "results.jsonl"
PAGE_FILE: Final = "results.md"
CACHE_FOLDER: Final = "cache"
MAX_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that could not be done, or a cell whose teacher could not."""

    what: str
    reason: str


class ComparisonError(TrainingError):
    """Some runs of a comparison failed; the others have their lines."""

    def __init__(self, failures: list[Failure]) -> None:
        reasons = "; ".join(f"{failure.what}: {failure.reason}" for failure in failures[:MAX_NAMED])
        more = f" and {len(failures) - MAX_NAMED} more" if len(failures) > MAX_NAMED else ""
        super().__init__(f"failed, to be tried again by the next call: {reasons}{more}")


def compare(planned: Sequence[PlannedRun], folder: Path, console: Console | None = None) -> list[Failure]:
    """Run what is missing from `results.jsonl` in the folder, then render `results.md` beside it, and the
    pictures of grids.

    A run that fails is named in the result; the others go on.

    Raises:
        ResultsError: `results.jsonl` holds something else, or a run that the plan has otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = ResultsFile(folder / RESULTS_FILE)
    lines = file.read()
    _check_as_planned(folder / RESULTS_FILE, lines, planned)
    done = {line.identity for line in lines}
    missing = [run for run in planned if run.identity not in done]
    with ComparisonProgress(len(planned), len(planned) - len(missing), console) as progress:
        schedule = _Schedule(missing, lines, folder / CACHE_FOLDER, file, progress)
        failures = schedule.run() if missing else []
    measure_latencies(file, folder / CACHE_FOLDER / GRAPHS_FOLDER)
    lines = file.read()
    replace_file(folder / PAGE_FILE, render_results(lines, load_published()).encode())
    write_frontier(lines, folder)
    return failures


def _check_as_planned(path: Path, lines: list[RunLine], planned: Sequence[PlannedRun]) -> None:
    """Raise ResultsError where a run that is done was made of another experiment than the plan has now."""
    wanted = {run.identity: planned_digest(run.experiment) for run in planned}
    for number, line in enumerate(lines, start=1):
        if line.planned_digest not in (None, wanted.get(line.identity, line.planned_digest)):
            found = f"{line.identity}, which was configured otherwise then"
            raise ResultsError(path, number, found, "the experiment as it was, or another folder to --out")


def _cells(runs: list[PlannedRun]) -> Iterator[Cell]:
    """Runs with a teacher in common, which `plan` puts next to each other."""
    for _, members in itertools.groupby(runs, key=lambda run: run.identity.cell):
        yield Cell(tuple(members))


class _Schedule:
    """Who does what next: students whose cell is prepared come first, so that lines appear early."""

    def __init__(
        self,
        runs: list[PlannedRun],
        done: list[RunLine],
        cache: Path,
        file: ResultsFile,
        progress: ComparisonProgress,
    ) -> None:
        self._cells = deque(_cells(runs))
        self._students: deque[Configuration] = deque()
        self._done = {(line.identity.cell, line.config_digest): line for line in done}
        self._cache = cache
        self._file = file
        self._progress = progress
        self._commit = git_commit()
        self._failures: list[Failure] = []

    def run(self) -> list[Failure]:
        """Until nothing is left; what an interrupt cuts off is done again by the next call."""
        num_workers = os.cpu_count() or 1
        os.environ["OMP_NUM_THREADS"] = "1"  # read by libraries when a new process imports them
        pool = ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_end_with_parent)
        under_way: dict[Future[Any], Cell | Configuration] = {}
        try:
            while self._cells or self._students or under_way:
                while len(under_way) < num_workers and (self._students or self._cells):
                    future, job = self._submit(pool)
                    under_way[future] = job
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    self._take(future, under_way.pop(future))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(pool._processes.values()) if under_way else ():
                process.terminate()
        return self._failures

    def _submit(self, pool: ProcessPoolExecutor) -> tuple[Future[Any], Cell | Configuration]:
        if self._students:
            student = self._students.popleft()
            return pool.submit(run_student, student.runs[0], self._cache, self._commit), student
        cell = self._cells.popleft()
        return pool.submit(prepare_cell, cell, self._cache), cell

    def _take(self, future: Future[Any], job: Cell | Configuration) -> None:
        error = future.exception()
        if error is not None:  # one run of the table, or the teacher of some, may fail alone
            what = str(job if isinstance(job, Cell) else job.runs[0].identity)
            self._failures.append(Failure(what, f"{type(error).__name__}: {error}"))
            self._progress.failed(what, len(job.runs))
        elif isinstance(job, Cell):
            for student in future.result():
                self._take_configuration(student)
        else:
            self._write(future.result(), job)

    def _take_configuration(self, student: Configuration) -> None:
        """Train it, unless the same was trained for another method."""
        done = self._done.get((student.runs[0].identity.cell, student.digest))
        if done is None:
            self._students.append(student)
        else:
            self._write(done, student)

    def _write(self, line: RunLine, student: Configuration) -> None:
        for run in student.runs:
            own = {"method": run.identity.method, "planned_digest": planned_digest(run.experiment)}
            same = line.model_copy(update=own)
            self._file.append(same)
            self._progress.finished(same)


def _end_with_parent() -> None:
    """Make a process of the pool end when its parent does, even if that is killed."""
    parent = parent_process()
    assert parent is not None, "this runs in a process of the pool"

    def wait_for_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()
