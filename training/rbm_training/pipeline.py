"""The method, told in order: dataset, encodings, teacher, student, evaluation, bundle, report.

Each stage leaves an artifact in the run's folder, and is not run again where its artifact is there: a run
that was killed goes on, and a run of which something changed makes anew what depends on that.
"""

import shutil
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from rich.console import Console

from rbm_bundle.bundle import Bundle, read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.manifest import Metrics, Provenance
from rbm_training.config import ExperimentConfig, load_config
from rbm_training.config.loading import as_toml
from rbm_training.data import dataset_artifact
from rbm_training.data.dataset import Dataset
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.student_artifact import student_key, trained_student
from rbm_training.distillation.training_data import check, prepare_training_data
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.export.records_graph import records_part_of
from rbm_training.reporting.baselines import TrainedStudent, baseline_experiments, train_baselines
from rbm_training.reporting.build import build_report_data
from rbm_training.reporting.html import PAGE_FILE, write_page
from rbm_training.reporting.measurement import measure_seed
from rbm_training.reporting.summary import RunReport, SeedReport, summarise, write_report
from rbm_training.runtime.artifacts import STAGES, Artifact, ArtifactStore
from rbm_training.runtime.environment import describe_environment, git_commit
from rbm_training.runtime.log import RunLog
from rbm_training.runtime.run_folder import RunFolder, RunFolderError


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its bundle and its report."""

    bundle: Bundle
    report: RunReport


def run(
    config: ExperimentConfig, path: Path, console: Console | None = None, start_from: str | None = None
) -> RunResult:
    """Run an experiment for each of its seeds and export the seed best on validation; go on with a run that
    is there.

    Args:
        start_from: the stage from which on all is made anew.

    Raises:
        RunFolderError: the folder is in use, or holds what no run of artifacts has left.
        GraphError: the dataset is malformed.
        DivergedError: teacher or student left the numbers.
        BundleError: the exported graphs do not reproduce the student.
    """
    folder = RunFolder(path)
    folder.check()
    dataset = load_dataset(config.dataset, config.features)
    check(config, dataset)
    baseline_experiments(config)  # a baseline that cannot be costs no training
    stages = list(STAGES)
    remade = stages[stages.index(start_from) :] if start_from is not None else []
    with folder.locked(), RunLog(path, console) as log:
        folder.write_config(as_toml(config))
        log.event("dataset", dataset=dataset.graph.name, num_nodes=dataset.graph.num_nodes)
        store = ArtifactStore(folder.artifacts, remade)
        _keep(dataset, config, store)
        return _Run(config, dataset, folder, store, log).whole()


def remake(path: Path, stage: str, console: Console | None = None) -> RunResult:
    """Make the bundle or the report of a finished run anew, from its artifacts alone.

    Raises:
        RunFolderError: the run is not finished.
    """
    folder = RunFolder(path)
    if not folder.artifacts.is_dir():
        raise RunFolderError(f"{path}: found no artifacts; wanted the folder of a finished run")
    config, store = load_config(folder.config_file()), ArtifactStore(folder.artifacts, [stage])
    kept = store.find("graph", _graph_key(config))
    if kept is None:
        raise RunFolderError(
            f"{path}: found no graph among its artifacts; wanted the folder of a finished run"
        )
    with folder.locked(), RunLog(path, console) as log:
        made = _Run(config, dataset_artifact.from_artifact(kept), folder, store, log)
        made.check_finished()
        return made.whole()


def _keep(dataset: Dataset, config: ExperimentConfig, store: ArtifactStore) -> None:
    """Leave the dataset with the run, in the place of one that its source gave before."""
    key = _graph_key(config)
    kept = store.find("graph", key)
    if kept is not None and dataset_artifact.from_artifact(kept).sha256 != dataset.sha256:
        store.discard("graph", key)
    store.get("graph", key, lambda: dataset_artifact.as_artifact(dataset))


def _graph_key(config: ExperimentConfig) -> dict[str, object]:
    return config.dataset.model_dump(mode="json", exclude={"root", "path"})


@dataclass(frozen=True, slots=True)
class _Run:
    """An experiment at work in its folder."""

    config: ExperimentConfig
    dataset: Dataset
    folder: RunFolder
    store: ArtifactStore
    log: RunLog

    def whole(self) -> RunResult:
        """All stages, in order. Of the seeds only their reports stay in memory, and then the best one."""
        reports = [self._evaluation(seed) for seed in self.config.seeds]
        seed = max(reports, key=lambda report: report.val_accuracy).seed
        best = self._student(seed)
        bundle = self._bundle(best, reports)
        report = self._report(reports, bundle)
        write_report(self.folder.path, report)
        self._page(report, best)
        return RunResult(bundle, report)

    def check_finished(self) -> None:
        """Refuse a run with a seed that is not measured.

        Raises:
            RunFolderError: there is one.
        """
        for seed in self.config.seeds:
            if self.store.find("evaluation", self._student_key(seed)) is None:
                raise RunFolderError(
                    f"{self.folder.path}: found seed {seed} not measured, or not with the experiment, data"
                    " and code of now; wanted a finished run: `rbm-train run` goes on with it"
                )

    def _student_key(self, seed: int) -> dict[str, object]:
        return student_key(self.config, self.dataset, seed)

    def _student(self, seed: int) -> TrainedStudent:
        """Teacher, encodings and student of a seed."""
        data = prepare_training_data(self.config, self.dataset, seed, self.log, self.store)
        distilled = trained_student(self.config, self.dataset, data, seed, self.log, self.store)
        return TrainedStudent(distilled.student.kind, seed, data, distilled)

    def _evaluation(self, seed: int) -> SeedReport:
        def make() -> Artifact:
            started = time.monotonic()
            trained = self._student(seed)
            report = measure_seed(trained.data, trained.distilled, seed, time.monotonic() - started)
            accuracies = {name: getattr(report, name) for name in ("val_accuracy", "test_accuracy")}
            self.log.event("seed", seed=seed, **accuracies)
            return Artifact(facts=asdict(report))

        return SeedReport(**self.store.get("evaluation", self._student_key(seed), make).facts)

    def _bundle(self, best: TrainedStudent, reports: list[SeedReport]) -> Bundle:
        path = self.folder.bundle

        def make() -> Artifact:
            fresh = path.with_name(f"{path.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            bundle = export_bundle(fresh, self._export_request(best, reports))
            shutil.rmtree(path, ignore_errors=True)
            fresh.rename(path)
            self.log.event("bundle", bundle_id=bundle.manifest.bundle_id)
            return Artifact(facts={"bundle_id": bundle.manifest.bundle_id})

        document = self.config.model_dump(mode="json")
        key = {
            "students": [self._student_key(report.seed) for report in reports],
            "config": {name: document[name] for name in ("name", "export")},
        }
        found = self.store.find("bundle", key)
        if found is not None and _bundle_id(path) != found.facts["bundle_id"]:
            self.store.discard("bundle", key)
        self.store.get("bundle", key, make)
        return read_bundle(path)

    def _export_request(self, best: TrainedStudent, reports: list[SeedReport]) -> ExportRequest:
        data, config, dataset = best.data, self.config, self.dataset
        known = data.task.graph.subgraph(data.task.known_nodes)
        return ExportRequest(
            name=config.export.name or config.name,
            student=best.distilled.student.on_cpu(),
            nodes=build_node_table(known, data.known_positions, config.export.cache_features),
            features=data.task.observed.features,
            positions=data.positions,
            labels=dataset.graph.class_names,
            metrics=_metrics(next(it for it in reports if it.seed == best.seed), reports),
            records=records_part_of(dataset, data.task, best.seed),
            provenance=Provenance(
                git_commit=git_commit(),
                dataset=dataset.graph.name,
                dataset_sha256=dataset.sha256,
                setting=config.dataset.setting,
                seed=best.seed,
                config=config.model_dump(mode="json")
                | {"num_threads": config.threads_for(dataset.graph.num_values)},
                versions=describe_environment(),
            ),
        )

    def _report(self, reports: list[SeedReport], bundle: Bundle) -> RunReport:
        source = bundle.manifest.provenance
        return RunReport(
            name=self.config.name,
            dataset=self.dataset.graph.name,
            setting=self.config.dataset.setting,
            teacher=self.config.teacher.name,
            exported_seed=source.seed,
            bundle_id=bundle.manifest.bundle_id,
            git_commit=source.git_commit,
            versions=source.versions,
            shares_validation=self._shares_validation(),
            runs=reports,
        )

    def _shares_validation(self) -> bool:
        """Whether all seeds were selected on the same nodes."""
        tasks = (self.dataset.task(self.config.dataset, seed) for seed in self.config.seeds)
        nodes = (np.concatenate([task.observed_nodes[task.val], task.pseudo_unseen]) for task in tasks)
        return len({tuple(np.sort(each)) for each in nodes}) == 1

    def _page(self, report: RunReport, best: TrainedStudent) -> None:
        path = self.folder.path / PAGE_FILE

        def make() -> Artifact:
            baselines = train_baselines(self.config, self.dataset, best.seed, self.log, self.store)
            write_page(path, build_report_data(self.config, self.dataset, report, best, baselines))
            return Artifact(facts={"page": PAGE_FILE})

        key = {"bundle_id": report.bundle_id, "baselines": list(self.config.report.baselines)}
        if not path.exists():
            self.store.discard("report", key)
        self.store.get("report", key, make)


def _bundle_id(path: Path) -> str | None:
    """The id of the bundle in a folder; None where there is none that can be read."""
    try:
        return read_bundle(path).manifest.bundle_id
    except BundleError:
        return None


def _metrics(exported: SeedReport, reports: list[SeedReport]) -> Metrics:
    """The exported seed's own figures, beside mean and deviation of all."""
    summary = summarise(reports)
    names = Metrics.model_fields.keys() & {field.name for field in fields(SeedReport)}
    return Metrics(
        **{name: getattr(exported, name) for name in names},
        test_accuracy_mean=summary["test_accuracy"] if len(reports) > 1 else None,
        test_accuracy_std=summary["test_accuracy_std"],
        num_runs=len(reports),
    )
