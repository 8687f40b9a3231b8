"""The method, told in order: dataset, encodings, teacher, student, evaluation, bundle, report.

Each stage leaves an artifact in the run's folder, and is not run again where its artifact is there: a run
that was killed goes on, and a run of which something changed makes anew what depends on that.
"""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from rbm_bundle.bundle import Bundle, read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.manifest_parts import Provenance
from rbm_training.config import ExperimentConfig, load_config
from rbm_training.config.loading import as_toml
from rbm_training.data import dataset_artifact
from rbm_training.data.dataset import Dataset
from rbm_training.distillation.student_artifact import student_key, trained_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.evaluation import without_neighbors
from rbm_training.export import export_bundle
from rbm_training.preflight import load_checked, settle
from rbm_training.reporting.baselines import TrainedStudent, train_baselines
from rbm_training.reporting.build import build_report_data
from rbm_training.reporting.export_request import export_request
from rbm_training.reporting.html import PAGE_FILE, write_page
from rbm_training.reporting.measurement import measure_seed
from rbm_training.reporting.refit import refit
from rbm_training.reporting.summary import RunReport, SeedReport, summarise, write_report
from rbm_training.runtime.artifacts import STAGES, Artifact, ArtifactStore
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
    settled = load_checked(config)
    stages = list(STAGES)
    remade = stages[stages.index(start_from) :] if start_from is not None else []
    with folder.locked(), RunLog(path, console) as log:
        folder.write_config(as_toml(config))
        read, split = settled.read, settled.dataset.split_in_words(settled.config.dataset)
        told = {"dataset": read.graph.name, "split": split, "advice": settled.advice}
        log.event("dataset", **told, **asdict(read.statistics))
        advice = [("advice", line) for line in settled.advice]
        log.tell([*read.statistics.lines(), ("split", split), *advice])
        store = ArtifactStore(folder.artifacts, remade)
        dataset_artifact.keep(settled.read, config.dataset, store)
        return _Run(settled.config, settled.dataset, settled.advice, folder, store, log).whole()


def remake(path: Path, stage: str, console: Console | None = None) -> RunResult:
    """Make the bundle or the report of a finished run anew, from its artifacts alone.

    Raises:
        RunFolderError: the run is not finished.
    """
    folder = RunFolder(path)
    if not folder.artifacts.is_dir():
        raise RunFolderError(f"{path}: found no artifacts; wanted the folder of a finished run")
    # Its paths are absolute; a version before wrote them relative to the working directory.
    config = load_config(folder.config_file(), relative_to=Path.cwd())
    store = ArtifactStore(folder.artifacts, [stage])
    dataset = dataset_artifact.find(config.dataset, store)
    if dataset is None:
        raise RunFolderError(f"{path}: found no graph in its artifacts; wanted the folder of a finished run")
    with folder.locked(), RunLog(path, console) as log:
        settled = settle(config, dataset)
        made = _Run(settled.config, settled.dataset, settled.advice, folder, store, log)
        made.check_finished()
        return made.whole()


@dataclass(frozen=True, slots=True)
class _Run:
    """An experiment at work in its folder."""

    config: ExperimentConfig
    dataset: Dataset
    advice: list[str]
    folder: RunFolder
    store: ArtifactStore
    log: RunLog

    def whole(self) -> RunResult:
        """All stages, in order. Of the seeds only their reports stay in memory, and then the best one."""
        reports = [self._evaluation(seed) for seed in self.config.seeds]
        self.log.tell(("advice", line) for line in _advice(self.config, reports))
        seed = max(reports, key=lambda report: report.val_accuracy).seed
        best = self._student(seed)
        exported, disagreement = best, None
        if self.config.export.refit:
            again = refit(self.config, self.dataset, best, self.log, self.store)
            exported, disagreement = again.trained if again.is_exported else best, again.disagreement
        bundle = self._bundle(exported, reports, is_refit=exported is not best)
        report = self._report(reports, bundle, disagreement)
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

    def _bundle(self, best: TrainedStudent, reports: list[SeedReport], is_refit: bool) -> Bundle:
        path = self.folder.bundle

        def make() -> Artifact:
            fresh = path.with_name(f"{path.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            request = export_request(self.config, self.dataset, best, reports, is_refit)
            bundle = export_bundle(fresh, request)
            shutil.rmtree(path, ignore_errors=True)
            fresh.rename(path)
            self.log.event("bundle", bundle_id=bundle.manifest.bundle_id)
            return Artifact(facts={"bundle_id": bundle.manifest.bundle_id})

        document = self.config.model_dump(mode="json")
        key = {
            "students": [self._student_key(report.seed) for report in reports],
            "config": {name: document[name] for name in ("name", "export")},
            "feature_names": list(self.dataset.feature_names),
        }
        found = self.store.find("bundle", key)
        if found is not None and _bundle_id(path) != found.facts["bundle_id"]:
            self.store.discard("bundle", key)
        self.store.get("bundle", key, make)
        return read_bundle(path)

    def _report(self, reports: list[SeedReport], bundle: Bundle, disagreement: float | None) -> RunReport:
        source = bundle.manifest.provenance
        return RunReport(
            name=self.config.name,
            dataset=self.dataset.graph.name,
            graph=self.dataset.statistics,
            split=self.dataset.split_in_words(self.config.dataset),
            setting=self.config.dataset.setting,
            teacher=_teacher_name(self.config, source),
            exported_seed=source.seed,
            bundle_id=bundle.manifest.bundle_id,
            git_commit=source.git_commit,
            versions=source.versions,
            shares_validation=self._shares_validation(),
            refit_disagreement=disagreement,
            is_refit=source.refit,
            advice=[*self.advice, *_advice(self.config, reports)],
            runs=reports,
        )

    def _shares_validation(self) -> bool:
        """Whether all seeds were selected on the same nodes."""
        splits = (self.dataset.split(self.config.dataset, seed) for seed in self.config.seeds)
        nodes = (np.concatenate([split.val, split.pseudo_unseen]) for split in splits)
        return len({tuple(np.sort(each)) for each in nodes}) == 1

    def _page(self, report: RunReport, best: TrainedStudent) -> None:
        path = self.folder.path / PAGE_FILE

        def make() -> Artifact:
            baselines = train_baselines(self.config, self.dataset, best, self.log, self.store)
            write_page(path, build_report_data(self.config, self.dataset, report, best, baselines))
            return Artifact(facts={"page": PAGE_FILE})

        key = {"bundle_id": report.bundle_id, "baselines": list(self.config.report.baselines)}
        if not path.exists():
            self.store.discard("report", key)
        self.store.get("report", key, make)


def _teacher_name(config: ExperimentConfig, source: Provenance) -> str:
    """What reports call the teacher; of kind `auto`, who was chosen."""
    chosen = source.config["teacher"].get("chosen")
    return " and ".join(member["kind"] for member in chosen) if chosen else config.teacher.name


def _advice(config: ExperimentConfig, reports: list[SeedReport]) -> list[str]:
    """What the measurements call for."""
    means = summarise(reports)
    student, baseline = (means[f"{who}test_accuracy_without_neighbors"] for who in ("", "baseline_"))
    return without_neighbors.advice(config, student, baseline)


def _bundle_id(path: Path) -> str | None:
    """The id of the bundle in a folder; None where there is none that can be read."""
    try:
        return read_bundle(path).manifest.bundle_id
    except BundleError:
        return None
