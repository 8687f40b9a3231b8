"""The method, told in order: dataset, teacher, positions, student, measurement, bundle, report."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from rbm_bundle.bundle import Bundle
from rbm_bundle.manifest import Metrics, Provenance
from rbm_training.config import ExperimentConfig
from rbm_training.config.loading import as_toml
from rbm_training.data.dataset import Dataset
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.train import DistilledStudent
from rbm_training.distillation.training_data import Prepared, check, distillation, prepare
from rbm_training.errors import TrainingError
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.reporting.baselines import Peer, peer_experiments, train_peers
from rbm_training.reporting.build import portray
from rbm_training.reporting.html import PAGE_FILE, write_page
from rbm_training.reporting.measurement import measure_seed
from rbm_training.reporting.summary import REPORT_FILE, RunReport, SeedReport, summarise, write_report
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.environment import describe_environment, git_commit
from rbm_training.runtime.log import RunLog

BUNDLE_FOLDER = "bundle"
CONFIG_FILE = "config.toml"


class RunFolderError(TrainingError):
    """A run folder that must not be written to."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its bundle and its report."""

    bundle: Bundle
    report: RunReport


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One seed, whole."""

    prepared: Prepared
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
    check(config, dataset)
    peer_experiments(config)  # a peer that cannot be costs no training
    _write_experiment(config, folder)
    with RunLog(folder, console) as log, TemporaryDirectory() as scratch:
        log.event("dataset", dataset=dataset.graph.name, num_nodes=dataset.graph.num_nodes)
        cache = ArtifactStore(Path(scratch))
        results = [run_seed(config, dataset, seed, log, cache) for seed in config.seeds]
        best = max(results, key=lambda result: result.report.val_accuracy)
        bundle = export_bundle(folder / BUNDLE_FOLDER, _export_request(config, dataset, results, best))
        log.event("bundle", bundle_id=bundle.manifest.bundle_id)
        report = _report(config, dataset, results, best, bundle)
        write_report(folder, report)
        _write_page(config, folder, dataset, report, best, log, cache)
    return RunResult(bundle, report)


def _write_page(
    config: ExperimentConfig,
    folder: Path,
    dataset: Dataset,
    report: RunReport,
    best: SeedResult,
    log: RunLog,
    cache: ArtifactStore,
) -> None:
    seed = best.report.seed
    student = Peer(best.distilled.kind, seed, best.prepared, best.distilled)
    peers = train_peers(config, dataset, seed, log, cache)
    write_page(folder / PAGE_FILE, portray(config, dataset, report, student, peers))


def _check_folder(folder: Path) -> None:
    for left in (REPORT_FILE, BUNDLE_FOLDER):
        if (folder / left).exists():
            raise RunFolderError(
                f"{folder}: found {left} of an earlier run; wanted a new folder for this one"
            )


def _write_experiment(config: ExperimentConfig, folder: Path) -> None:
    """Make the run folder and write the resolved experiment into it, over an unfinished run's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(as_toml(config))


def run_seed(
    config: ExperimentConfig, dataset: Dataset, seed: int, log: RunLog, cache: ArtifactStore | None = None
) -> SeedResult:
    """Teacher, positions, student and their measurement, for one seed."""
    started = time.monotonic()
    prepared = prepare(config, dataset, seed, log, cache)
    distilled = distillation(config, prepared, log).train(seed)
    report = measure_seed(prepared, distilled, seed, time.monotonic() - started)
    log.event("seed", seed=seed, val_accuracy=report.val_accuracy, test_accuracy=report.test_accuracy)
    return SeedResult(prepared, distilled, report)


def _export_request(
    config: ExperimentConfig, dataset: Dataset, results: list[SeedResult], best: SeedResult
) -> ExportRequest:
    task, positions = best.prepared.task, best.prepared.positions
    return ExportRequest(
        name=config.export.name or config.name,
        kind=best.distilled.kind,
        student=best.distilled.student.on_cpu(),
        nodes=build_node_table(
            task.graph.subgraph(task.known_nodes),
            best.prepared.known_positions,
            config.export.cache_features,
        ),
        features=task.observed.features,
        positions=positions,
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
        teacher=config.teacher.name,
        exported_seed=best.report.seed,
        bundle_id=bundle.manifest.bundle_id,
        git_commit=bundle.manifest.provenance.git_commit,
        versions=bundle.manifest.provenance.versions,
        runs=[result.report for result in results],
    )
