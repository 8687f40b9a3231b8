"""What a process of a comparison does: prepare a cell, or train and measure one student."""

import time
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch

from rbm_bundle.version import package_version
from rbm_training.benchmark.digests import config_digest, data_digest
from rbm_training.benchmark.latency import GRAPHS_FOLDER, save_graph
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
from rbm_training.evaluation.metrics import agreement, kl_divergence
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


@dataclass(frozen=True, slots=True)
class Configuration:
    """Runs of a cell that come to the same student: one is trained, and all have its line."""

    digest: str
    runs: tuple[PlannedRun, ...]


def prepare_cell(cell: Cell, cache: Path) -> list[Configuration]:
    """Make the teacher and the positions of all students of a cell, once, and find out which of its runs are
    the same."""
    prepared: dict[tuple[Hashable, ...], _Prepared] = {}
    runs: dict[str, list[PlannedRun]] = {}
    for run in cell.runs:
        key = _shared(run.experiment)
        if key not in prepared:
            prepared[key] = _prepare(run.experiment, cache)
        runs.setdefault(prepared[key].digest(run.experiment), []).append(run)
    return [Configuration(digest, tuple(same)) for digest, same in runs.items()]


def _shared(experiment: ExperimentConfig) -> tuple[Hashable, ...]:
    """What they depend on; the released code asks a teacher otherwise how steady it is."""
    return experiment.compat, experiment.positions, experiment.teacher, experiment.scaling.features


def run_student(run: PlannedRun, cache: Path, commit: str | None) -> RunLine:
    """Train and measure one student; `seconds` is its training, without what it shares with others."""
    experiment, seed = run.experiment, run.identity.seed
    prepared = _prepare(experiment, cache)
    data = prepared.data
    started = time.monotonic()
    log = RunLog(None)
    distilled = best_of_kinds(
        experiment, data, lambda each: train_student(each, data, seed, log, Checkpoint(None, log))
    )
    seconds = time.monotonic() - started
    inputs, teacher = data.inputs, data.teacher
    predictions = predict_all(distilled.student, inputs, distilled.batch_rows)
    student = group_accuracies(inputs, predictions.observed, predictions.unseen)
    teachers = group_accuracies(inputs, teacher.logits, teacher.unseen_logits)
    all_nodes = torch.cat([predictions.observed, predictions.unseen])
    taught = torch.cat([teacher.logits, teacher.unseen_logits])
    is_inductive = run.identity.setting == "inductive"
    line = RunLine(
        **asdict(run.identity),
        val_accuracy=distilled.validation.val_accuracy,
        test_accuracy=student.test,
        test_accuracy_max=distilled.test_accuracy_max,
        unseen_accuracy=student.unseen,
        observed_test_accuracy=student.observed_test if is_inductive else None,
        production_accuracy=student.production,
        teacher_val_accuracy=teachers.val,
        teacher_test_accuracy=teachers.test,
        agreement=agreement(all_nodes, taught),
        kl=kl_divergence(taught, all_nodes),
        num_parameters=distilled.costs.num_parameters,
        flops_per_node=distilled.costs.flops_per_node,
        sparse_flops_per_node=distilled.costs.sparse_flops_per_node,
        seconds=round(seconds, 3),
        git_commit=commit,
        release=package_version(),
        config_digest=prepared.digest(experiment),
        data_digest=data_digest(prepared.dataset),
    )
    if run.is_timed:
        save_graph(cache / GRAPHS_FOLDER, line, distilled.student, data)
    return line


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What students with the same teacher, positions and features are trained on."""

    dataset: Dataset
    data: TrainingData

    def digest(self, experiment: ExperimentConfig) -> str:
        """That of one student's configuration."""
        resolved, _ = with_scaling(experiment, self.dataset)
        return config_digest(resolved, self.dataset, self.data.input_size)


def _prepare(experiment: ExperimentConfig, cache: Path) -> _Prepared:
    import_plugins(experiment.plugins)  # a process of the pool has not read the experiment
    dataset = _load(experiment.dataset, experiment.features.model_dump_json())
    resolved, scaled = with_scaling(experiment, dataset)
    log, store = RunLog(None), ArtifactStore(cache)
    data = prepare_training_data(resolved, scaled, experiment.seeds[0], log, store)
    return _Prepared(dataset, data)


@lru_cache(maxsize=2)
def _load(config: DatasetConfig, features: str) -> Dataset:
    return load_dataset(config, FeaturesConfig.model_validate_json(features))
