"""The method, told in order: dataset, teacher, positions, student, measurement, bundle, report."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w
import torch
from rich.console import Console

from rbm_bundle.bundle import Bundle
from rbm_bundle.manifest import Metrics, Provenance
from rbm_training.config import ExperimentConfig, PrecomputedTeacherConfig, TeacherConfig
from rbm_training.datasets import Dataset, load_dataset
from rbm_training.distill import DistilledStudent, train_student
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.graph import Floats, Graph, GraphError, Task
from rbm_training.measurement import measure_seed
from rbm_training.positions import encode_positions, positions_of
from rbm_training.precomputed import answer_from, read_logits
from rbm_training.report import REPORT_FILE, RunReport, SeedReport, summarise, write_report
from rbm_training.run_log import RunLog
from rbm_training.runtime import describe_environment, git_commit, pick_device, seed_everything
from rbm_training.scaling import InputScaling
from rbm_training.student_inputs import student_inputs
from rbm_training.teacher import train_teacher

BUNDLE_FOLDER = "bundle"
CONFIG_FILE = "config.toml"


class RunFolderError(Exception):
    """A run folder that must not be written to."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its bundle and its report."""

    bundle: Bundle
    report: RunReport


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One seed, whole. Shapes: positions (N, P) of the observed nodes."""

    task: Task
    positions: Floats
    distilled: DistilledStudent
    report: SeedReport


def run(config: ExperimentConfig, folder: Path, console: Console | None = None) -> RunResult:
    """Run an experiment for each of its seeds and export the seed best on validation.

    Raises:
        RunFolderError: the folder holds the report or bundle of an earlier run.
        GraphError: the dataset is malformed.
        DivergedError: teacher or student left the numbers.
        BundleError: the exported graphs do not reproduce the student.
    """
    _check_folder(folder)
    dataset = load_dataset(config.dataset)
    check_scaling(config, dataset.graph)
    tasks = [dataset.task(config.dataset, seed) for seed in config.seeds]  # a bad split costs no training
    saved = saved_logits(config, dataset)
    _write_experiment(config, folder)
    with RunLog(folder, console) as log:
        log.event("dataset", dataset=dataset.graph.name, num_nodes=dataset.graph.num_nodes)
        results = [
            run_seed(config, task, seed, log, saved) for task, seed in zip(tasks, config.seeds, strict=True)
        ]
        best = max(results, key=lambda result: result.report.val_accuracy)
        bundle = export_bundle(folder / BUNDLE_FOLDER, _export_request(config, dataset, results, best))
        log.event("bundle", bundle_id=bundle.manifest.bundle_id)
        report = _report(config, dataset, results, best, bundle)
        write_report(folder, report)
    return RunResult(bundle, report)


def _check_folder(folder: Path) -> None:
    for left in (REPORT_FILE, BUNDLE_FOLDER):
        if (folder / left).exists():
            raise RunFolderError(
                f"{folder}: found {left} of an earlier run; wanted a new folder for this one"
            )


def _write_experiment(config: ExperimentConfig, folder: Path) -> None:
    """Make the run folder and write the resolved experiment into it, over an unfinished run's."""
    folder.mkdir(parents=True, exist_ok=True)
    resolved = config.model_dump(mode="json", exclude_none=True)
    (folder / CONFIG_FILE).write_text(tomli_w.dumps(resolved))


def saved_logits(config: ExperimentConfig, dataset: Dataset) -> Floats | None:
    """Logits (N, C) of a precomputed teacher; None when the teacher is yet to be trained."""
    if isinstance(config.teacher, PrecomputedTeacherConfig):
        return read_logits(config.teacher.logits, dataset)
    return None


def run_seed(
    config: ExperimentConfig, task: Task, seed: int, log: RunLog, saved: Floats | None
) -> SeedResult:
    """Teacher, positions, student and their measurement, for one seed.

    Args:
        saved: logits (N, C) of a precomputed teacher.
    """
    started = time.monotonic()
    device = pick_device()
    seed_everything(seed, config.num_threads)
    scaling = fit_scaling(config, task).to(device)
    unit_noise = config.compat == "released"
    if isinstance(config.teacher, TeacherConfig):
        teacher = train_teacher(task, scaling, config.teacher, device, log, unit_noise)
    else:
        assert saved is not None
        teacher = answer_from(saved, task, device)
    positions = encode_positions(task, config.positions, seed, log)
    inputs = student_inputs(task, positions, positions_of(task, positions, task.unseen), device)
    edges = torch.from_numpy(task.observed.edge_index).to(device)
    distilled = train_student(inputs, scaling, teacher, edges, config, seed, log)
    seconds = time.monotonic() - started
    report = measure_seed(seed, task, inputs, teacher, distilled, scaling, seconds)
    log.event("seed", seed=seed, val_accuracy=report.val_accuracy, test_accuracy=report.test_accuracy)
    return SeedResult(task, positions, distilled, report)


def check_scaling(config: ExperimentConfig, graph: Graph) -> None:
    """Refuse a scaling that would fill the zeros of sparse features.

    Raises:
        GraphError: sparse features that would be standardised.
    """
    if config.scaling.features == "standardised" and not isinstance(graph.features, np.ndarray):
        share = graph.features.nnz / (graph.num_nodes * graph.num_features)
        raise GraphError(
            graph.name,
            f"scaling.features = 'standardised' for features of which {share:.1%} are non-zero",
            "'l2' or 'none': a standardised zero is none",
        )


def fit_scaling(config: ExperimentConfig, task: Task) -> InputScaling:
    """The input scaling of an experiment, fitted on observed features."""
    norm = None if config.scaling.position_norm == "none" else config.scaling.position_norm
    scaling = InputScaling(task.graph.num_features, config.scaling.features, norm)
    features = task.observed.features
    return scaling.fit(torch.from_numpy(features)) if isinstance(features, np.ndarray) else scaling


def _export_request(
    config: ExperimentConfig, dataset: Dataset, results: list[SeedResult], best: SeedResult
) -> ExportRequest:
    observed = best.task.observed
    return ExportRequest(
        name=config.export.name or config.name,
        student=best.distilled.student.cpu().eval(),
        nodes=build_node_table(observed, best.positions, config.export.cache_features),
        features=observed.features,
        positions=best.positions,
        labels=dataset.graph.class_names,
        metrics=_metrics(results),
        provenance=Provenance(
            git_commit=git_commit(),
            dataset=dataset.graph.name,
            dataset_sha256=dataset.sha256(),
            setting=config.dataset.setting,
            seed=best.report.seed,
            config=config.model_dump(mode="json"),
            versions=describe_environment(),
        ),
    )


def _metrics(results: list[SeedResult]) -> Metrics:
    summary = summarise([result.report for result in results])
    names = Metrics.model_fields.keys() - {"num_runs"}
    return Metrics.model_validate({name: summary[name] for name in names} | {"num_runs": len(results)})


def _report(
    config: ExperimentConfig, dataset: Dataset, results: list[SeedResult], best: SeedResult, bundle: Bundle
) -> RunReport:
    return RunReport(
        name=config.name,
        dataset=dataset.graph.name,
        setting=config.dataset.setting,
        teacher=config.teacher.kind,
        student=bundle.manifest.architecture.student,
        num_parameters=bundle.manifest.architecture.num_parameters,
        exported_seed=best.report.seed,
        bundle_id=bundle.manifest.bundle_id,
        git_commit=bundle.manifest.provenance.git_commit,
        versions=bundle.manifest.provenance.versions,
        runs=[result.report for result in results],
    )
