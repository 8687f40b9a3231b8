"""What a process of a comparison does: prepare a cell, or train and measure one student."""

import time
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from rbm_training.benchmark.plan import PlannedRun
from rbm_training.benchmark.records import RunLine
from rbm_training.config import DatasetConfig, ExperimentConfig, FeaturesConfig
from rbm_training.config.registry import import_plugins
from rbm_training.data.dataset import Dataset
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.preconditions import with_scaling
from rbm_training.distillation.predictions import predict_all
from rbm_training.distillation.train import best_of_kinds, train_student
from rbm_training.distillation.training_data import TrainingData, prepare_training_data
from rbm_training.reporting.measurement import group_accuracies
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import RunLog


@dataclass(frozen=True, slots=True)
class Cell:
    """Runs that share dataset, split, seed and teacher."""

    runs: tuple[PlannedRun, ...]

    def __str__(self) -> str:
        first = self.runs[0].identity
        return f"teacher of {first.dataset} {first.protocol} {first.setting} seed {first.seed}"


def prepare_cell(cell: Cell, cache: Path) -> None:
    """Make the teacher and the positions of all students of a cell, once."""
    for experiment in {_shared(run.experiment): run.experiment for run in cell.runs}.values():
        _training_data(experiment, cache)


def _shared(experiment: ExperimentConfig) -> tuple[Hashable, ...]:
    return experiment.positions, experiment.teacher, experiment.scaling.features


def run_student(run: PlannedRun, cache: Path, commit: str | None) -> RunLine:
    """Train and measure one student; `seconds` is its training, without what it shares with others."""
    experiment, seed = run.experiment, run.identity.seed
    data = _training_data(experiment, cache)
    started = time.monotonic()
    log = RunLog(None)
    distilled = best_of_kinds(
        experiment, lambda each: train_student(each, data, seed, log, Checkpoint(None, log))
    )
    seconds = time.monotonic() - started
    inputs, teacher = data.inputs, data.teacher
    predictions = predict_all(distilled.student, inputs, distilled.batch_rows)
    student = group_accuracies(inputs, predictions.observed, predictions.unseen)
    teachers = group_accuracies(inputs, teacher.logits, teacher.unseen_logits)
    is_inductive = run.identity.setting == "inductive"
    return RunLine(
        **asdict(run.identity),
        val_accuracy=distilled.validation.val_accuracy,
        test_accuracy=student.test,
        test_accuracy_max=distilled.test_accuracy_max,
        unseen_accuracy=student.unseen,
        observed_test_accuracy=student.observed_test if is_inductive else None,
        production_accuracy=student.production,
        teacher_val_accuracy=teachers.val,
        teacher_test_accuracy=teachers.test,
        num_parameters=distilled.costs.num_parameters,
        flops_per_node=distilled.costs.flops_per_node,
        seconds=round(seconds, 3),
        git_commit=commit,
    )


def _training_data(experiment: ExperimentConfig, cache: Path) -> TrainingData:
    import_plugins(experiment.plugins)  # a process of the pool has not read the experiment
    dataset = _load(experiment.dataset, experiment.features.model_dump_json())
    experiment, dataset = with_scaling(experiment, dataset)
    return prepare_training_data(experiment, dataset, experiment.seeds[0], RunLog(None), ArtifactStore(cache))


@lru_cache(maxsize=2)
def _load(config: DatasetConfig, features: str) -> Dataset:
    return load_dataset(config, FeaturesConfig.model_validate_json(features))
