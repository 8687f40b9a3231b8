"""Latency of the exported graphs of a comparison, measured once nothing of it is trained any more.

A run that is to be timed leaves its graph, and the rows to ask it about, in a folder. When all runs have
ended, one process opens the graphs of a cell and calls them in turns, so that whatever else the machine does
falls on all of them alike.
"""

import itertools
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession

from rbm_bundle.folders import replace_file
from rbm_training.benchmark.records import ResultsFile, RunLine
from rbm_training.distillation.training_data import TrainingData
from rbm_training.export.parity import open_session
from rbm_training.reporting.baselines import cpu_graph, first_rows
from rbm_training.students.student import Student

GRAPHS_FOLDER: Final = "graphs"
NUM_TURNS: Final = 10
NUM_WARM_UP_CALLS: Final = 2
"""Of each turn, before those that are timed: a graph that was not called for a while is out of the caches."""
NUM_CALLS: Final = {1: 20, 128: 5}
"""Timed calls of a turn, by the rows of a call."""

Inputs = Mapping[str, npt.NDArray[Any]]


def save_graph(folder: Path, line: RunLine, student: Student, data: TrainingData) -> None:
    """Keep the graph of a run, and its inputs, until it is timed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = graph_file(folder, line)
    inputs = {num_rows: first_rows(data, num_rows) for num_rows in NUM_CALLS}
    named: dict[str, Any] = {
        _key(num_rows, name): values for num_rows in inputs for name, values in inputs[num_rows].items()
    }
    with _inputs_file(path).open("wb") as file:
        np.savez(file, **named)
    replace_file(path, cpu_graph(student, data))


def graph_file(folder: Path, line: RunLine) -> Path:
    """Where the graph of a run is kept; methods that come to the same student share it."""
    name = "-".join(map(str, (*line.identity.cell, line.config_digest)))
    return folder / f"{name}.onnx"


def measure_latencies(file: ResultsFile, folder: Path) -> None:
    """Time the graphs that wait in a folder, cell by cell, write it to their runs' lines, and remove them."""
    lines = file.read()
    waiting = [line for line in lines if graph_file(folder, line).exists()]
    by_cell = itertools.groupby(sorted(waiting, key=_cell), key=_cell)
    for paths in [sorted({graph_file(folder, line) for line in members}) for _, members in by_cell]:
        found = dict(zip(paths, measure_in_turns(paths), strict=True))
        lines = [line.model_copy(update=found.get(graph_file(folder, line), {})) for line in lines]
        file.rewrite(lines)
        for path in paths:
            path.unlink()
            _inputs_file(path).unlink()


def measure_in_turns(paths: Iterable[Path]) -> list[dict[str, float]]:
    """Median time of each graph, in microseconds a row, by the fields of a line."""
    graphs = [_TimedGraph.read(path) for path in paths]
    for _, graph in itertools.product(range(NUM_TURNS), graphs):
        graph.take_turn()
    return [graph.microseconds_per_row() for graph in graphs]


@dataclass(frozen=True, slots=True)
class _TimedGraph:
    """A graph on one thread, its inputs by their number of rows, and the seconds of its calls so far."""

    session: InferenceSession
    inputs: Mapping[int, Inputs]
    seconds: Mapping[int, list[float]]

    @classmethod
    def read(cls, path: Path) -> "_TimedGraph":
        session = open_session(path.read_bytes())
        names = [item.name for item in session.get_inputs()]
        with np.load(_inputs_file(path)) as saved:
            inputs = {
                num_rows: {name: saved[_key(num_rows, name)] for name in names} for num_rows in NUM_CALLS
            }
        return cls(session, inputs, {num_rows: [] for num_rows in NUM_CALLS})

    def take_turn(self) -> None:
        for num_rows, num_calls in NUM_CALLS.items():
            for call in range(NUM_WARM_UP_CALLS + num_calls):
                started = time.perf_counter()
                self.session.run(["probabilities"], self.inputs[num_rows])
                if call >= NUM_WARM_UP_CALLS:
                    self.seconds[num_rows].append(time.perf_counter() - started)

    def microseconds_per_row(self) -> dict[str, float]:
        return {
            f"latency_us_{num_rows}": 1e6 * statistics.median(seconds) / num_rows
            for num_rows, seconds in self.seconds.items()
        }


def _cell(line: RunLine) -> tuple[Any, ...]:
    return line.identity.cell


def _inputs_file(graph: Path) -> Path:
    return graph.with_suffix(".npz")


def _key(num_rows: int, name: str) -> str:
    return f"{num_rows} {name}"
