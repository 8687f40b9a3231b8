"""From a finished run to what its page shows.

Dimension letters: S seeds, C classes.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import tomli_w

from rbm_training.config import ExperimentConfig, PrecomputedTeacherConfig
from rbm_training.config.paths import with_bare_paths
from rbm_training.data.dataset import Dataset
from rbm_training.distillation.inputs import StudentInputs
from rbm_training.distillation.predictions import Predictions, predict_all
from rbm_training.distillation.training_data import TrainingData
from rbm_training.evaluation.calibration import bin_by_confidence
from rbm_training.evaluation.intervals import mean_error
from rbm_training.reporting.baselines import TrainedStudent, describe_method
from rbm_training.reporting.expert_maps import expert_maps
from rbm_training.reporting.position_ablation import measure_unseen
from rbm_training.reporting.report_data import (
    NO_NEIGHBOR,
    VALIDATION,
    Calibration,
    ClassResults,
    GroupAccuracy,
    Method,
    Reals,
    ReportData,
    RunFacts,
    TeacherReads,
)
from rbm_training.reporting.summary import RunReport, SeedReport
from rbm_training.reporting.training_curves import training_history
from rbm_training.runtime.clock import time_of_making
from rbm_training.teachers.costs import TeacherCosts, teacher_costs


def build_report_data(
    config: ExperimentConfig,
    dataset: Dataset,
    report: RunReport,
    student: TrainedStudent,
    baselines: Sequence[TrainedStudent],
) -> ReportData:
    """Everything the page shows: of the exported student, and of the baselines trained beside it."""
    distilled = student.distilled
    predictions = predict_all(distilled.student, student.data.inputs, distilled.batch_rows)
    everyone = [student, *baselines]
    teacher = _teacher_costs(config, student.data)
    return ReportData(
        facts=_facts(config, dataset, report),
        accuracies=_accuracies(report, student.data.inputs),
        classes=_classes(dataset, student.data, predictions),
        calibration=_calibration(student, predictions),
        histories=tuple(
            training_history(trained) for trained in everyone if trained.distilled.selected_epoch is not None
        ),
        maps=expert_maps(student, predictions),
        unseen=measure_unseen(config, student),
        methods=(*map(describe_method, everyone), *_teacher_method(report, teacher)),
        teacher_reads=None if teacher is None else TeacherReads(teacher.num_nodes_read, teacher.mean_degree),
        graph=report.graph,
        advice=tuple(report.advice),
        rare_classes=tuple(report.exported.rare_classes),
        without_neighbors=_without_neighbors(report, student.data.inputs),
    )


def _teacher_costs(config: ExperimentConfig, data: TrainingData) -> TeacherCosts | None:
    """Of a teacher that was trained here; saved logits cost what nobody knows."""
    if isinstance(config.teacher, PrecomputedTeacherConfig):
        return None
    return teacher_costs(config.teacher, data.teacher.members, data.task.graph)


def _teacher_method(report: RunReport, teacher: TeacherCosts | None) -> tuple[Method, ...]:
    if teacher is None:
        return ()
    exported, costs = report.exported, teacher.costs
    accuracies = exported.teacher_val_accuracy, exported.teacher_test_accuracy
    name = f"teacher ({report.teacher})"
    return (Method(name, *accuracies, costs.num_parameters, costs.flops_per_node, math.nan, math.nan),)


def _facts(config: ExperimentConfig, dataset: Dataset, report: RunReport) -> RunFacts:
    exported = report.exported
    return RunFacts(
        name=report.name,
        dataset=report.dataset,
        setting=report.setting,
        split=report.split,
        teacher=report.teacher,
        student=exported.student,
        seeds=tuple(run.seed for run in report.runs),
        exported_seed=report.exported_seed,
        num_training_labels=exported.num_training_labels,
        untrained_classes=exported.untrained_classes,
        baseline_margin_error=_margin_error(report),
        only_answer=exported.only_answer,
        created_at=time_of_making(),
        git_commit=report.git_commit,
        dataset_sha256=dataset.sha256,
        versions=report.versions,
        config_toml=tomli_w.dumps(with_bare_paths(config.model_dump(mode="json", exclude_none=True))),
    )


def _margin_error(report: RunReport) -> float:
    errors = np.array([run.baseline_margin_error for run in report.runs])
    leads = np.array([run.test_accuracy - run.baseline_test_accuracy for run in report.runs])
    return mean_error(errors, leads)


def _accuracies(report: RunReport, inputs: StudentInputs) -> tuple[GroupAccuracy, ...]:
    num_validation = len(inputs.val) + len(inputs.pseudo_unseen)
    groups = {
        VALIDATION: (num_validation, "val_accuracy"),
        "test nodes": (len(inputs.test), "test_accuracy"),
    }
    if report.setting == "inductive":
        groups = {
            VALIDATION: (num_validation, "val_accuracy"),
            "observed test nodes": (len(inputs.test), "observed_test_accuracy"),
            "unseen nodes": (len(inputs.unseen), "test_accuracy"),
        }
    return _of_groups(report, groups)


def _without_neighbors(report: RunReport, inputs: StudentInputs) -> tuple[GroupAccuracy, ...]:
    """The same where no neighbour is known; nothing of a student without positions."""
    if report.exported.test_accuracy_without_neighbors is None:
        return ()
    num_validation = len(inputs.pseudo_unseen) or len(inputs.val)
    tested = "unseen nodes" if report.setting == "inductive" else "test nodes"
    groups = {
        f"{VALIDATION}{NO_NEIGHBOR}": (num_validation, "val_accuracy_without_neighbors"),
        f"{tested}{NO_NEIGHBOR}": (len(inputs.test_labels), "test_accuracy_without_neighbors"),
    }
    return _of_groups(report, groups)


def _of_groups(report: RunReport, groups: Mapping[str, tuple[int, str]]) -> tuple[GroupAccuracy, ...]:
    """Of each group that has nodes, by its number of nodes and its field."""
    named = ((group, size, _by_whom(report.runs, field)) for group, (size, field) in groups.items())
    return tuple(GroupAccuracy(group, size, *values) for group, size, values in named if size)


def _by_whom(runs: list[SeedReport], field: str) -> list[Reals]:
    """Student, teacher and baseline, each (S,); NaN where nothing was measured."""
    prefixes = ("", "teacher_", "baseline_")
    return [np.array([getattr(run, prefix + field, None) for run in runs], np.float64) for prefix in prefixes]


def _classes(dataset: Dataset, data: TrainingData, predictions: Predictions) -> ClassResults:
    inputs, C = data.inputs, dataset.graph.num_classes
    labels = inputs.test_labels.cpu().numpy()
    predicted = inputs.test_rows(predictions.observed, predictions.unseen).argmax(dim=1).cpu().numpy()
    teacher = inputs.test_rows(data.teacher.logits, data.teacher.unseen_logits)
    right = labels[teacher.argmax(dim=1).cpu().numpy() == labels]
    confusion = np.zeros((C, C), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    with np.errstate(invalid="ignore"):
        teacher_recall = np.bincount(right, minlength=C) / confusion.sum(axis=1)
    return ClassResults(dataset.graph.class_names, confusion, teacher_recall)


def _calibration(student: TrainedStudent, predictions: Predictions) -> Calibration:
    inputs, temperature = student.data.inputs, float(student.distilled.student.temperature)
    logits = inputs.test_rows(predictions.observed, predictions.unseen)
    before, after = (
        bin_by_confidence((logits / divisor).softmax(dim=1), inputs.test_labels)
        for divisor in (1.0, temperature)
    )
    return Calibration(temperature, before, after)
