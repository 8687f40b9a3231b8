"""What a process of a comparison does: prepare a cell, or train and measure one student."""

import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rbm_training.comparison.plan import PlannedRun
from rbm_training.config import DatasetConfig, ExperimentConfig
from rbm_training.datasets import Dataset, load_dataset
from rbm_training.measurement import measure_seed
from rbm_training.pipeline import distillation
from rbm_training.preparation import check, prepare
from rbm_training.results import RunLine
from rbm_training.run_log import RunLog
from rbm_training.stage_cache import StageCache


@dataclass(frozen=True, slots=True)
class Cell:
    """Runs that share dataset, split, seed and teacher."""

    runs: tuple[PlannedRun, ...]

    def __str__(self) -> str:
        first = self.runs[0].identity
        return f"teacher of {first.dataset} {first.protocol} {first.setting} seed {first.seed}"


def prepare_cell(cell: Cell, cache: Path) -> None:
    """Make the teacher and the positions of all students of a cell, once."""
    for experiment in {run.experiment.model_copy(update={}).positions: run.experiment for run in cell.runs}.values():
        with _quiet_log() as log:
            prepare(experiment, _checked_dataset(experiment), experiment.seeds[0], log, StageCache(cache))


def run_student(run: PlannedRun, cache: Path, commit: str | None) -> RunLine:
    """Train and measure one student; `seconds` is its training, without what it shares with others."""
    experiment, identity = run.experiment, run.identity
    with _quiet_log() as log:
        prepared = prepare(experiment, _checked_dataset(experiment), identity.seed, log, StageCache(cache))
        started = time.monotonic()
        distilled = distillation(experiment, prepared, log).train(identity.seed)
        seconds = time.monotonic() - started
    report = measure_seed(experiment, prepared, distilled, identity.seed, seconds)
    return RunLine(
        dataset=identity.dataset,
        protocol=identity.protocol,
        setting=identity.setting,
        teacher=identity.teacher,
        method=identity.method,
        seed=identity.seed,
        val_accuracy=report.val_accuracy,
        test_accuracy=report.test_accuracy,
        test_accuracy_max=report.test_accuracy_max,
        unseen_accuracy=report.unseen_accuracy,
        observed_test_accuracy=report.observed_test_accuracy,
        production_accuracy=report.production_accuracy,
        teacher_val_accuracy=report.teacher_val_accuracy,
        teacher_test_accuracy=report.teacher_test_accuracy,
        num_parameters=report.num_parameters,
        flops_per_node=report.flops_per_node,
        seconds=report.seconds,
        git_commit=commit,
    )


def _checked_dataset(experiment: ExperimentConfig) -> Dataset:
    dataset = _load(experiment.dataset)
    check(experiment, dataset)
    return dataset


@lru_cache(maxsize=2)
def _load(config: DatasetConfig) -> Dataset:
    return load_dataset(config)


def _quiet_log() -> RunLog:
    return RunLog(Path(tempfile.gettempdir()))
