"""Training a student: warm up one expert, start routing, clone, distil, keep the best epoch.

Rumiantsev & Coates, TMLR 2024, sections on initialisation and training; docs/method.md tells what differs.
Dimension letters: N observed nodes, M directed edges, F features, P position width, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from rbm_training.config import ExperimentConfig, StudentConfig
from rbm_training.config.student import StudentKind
from rbm_training.data.scaling import InputScaling
from rbm_training.distillation.inputs import StudentInputs
from rbm_training.distillation.predictions import answer_all
from rbm_training.distillation.released import ReleasedDistiller
from rbm_training.distillation.trainer import Distiller
from rbm_training.evaluation.calibration import fit_temperature
from rbm_training.evaluation.early_stopping import EpochMetrics, Selection
from rbm_training.runtime.log import RunLog
from rbm_training.students.complexity import Costs, layer_widths, student_costs
from rbm_training.students.ensemble import average_students
from rbm_training.students.routing import LayerUse
from rbm_training.students.student import Student, build_student
from rbm_training.teachers import TeacherResult

OnEpoch = Callable[[EpochMetrics], None]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch: its accuracies, the parts of its loss, and the use of each layer of several experts."""

    metrics: EpochMetrics
    terms: dict[str, float]
    use: list[LayerUse]


@dataclass(frozen=True, slots=True)
class DistilledStudent:
    """A trained student at its best epoch, and the story of its training.

    `validation` is what it was selected by, `selected_epoch` None for an ensemble, whose members each have
    their own, and `history` that of the first member. `test_accuracy_max` is the highest test accuracy of any
    epoch.
    """

    student: Student
    kind: StudentKind
    costs: Costs
    validation: EpochMetrics
    selected_epoch: int | None
    test_accuracy_max: float | None
    history: list[EpochRecord]


@dataclass(frozen=True, slots=True)
class _Trained:
    student: Student
    selection: Selection
    history: list[EpochRecord]


@dataclass(frozen=True, slots=True)
class Distillation:
    """What a student is trained with, whatever its kind.

    Args:
        scaling: of the inputs, fitted; becomes part of the student.
        edge_index: (2, M) edges of the observed graph, for reliable pairs.
    """

    inputs: StudentInputs
    scaling: InputScaling
    teacher: TeacherResult
    edge_index: Tensor
    config: ExperimentConfig
    log: RunLog
    on_epoch: OnEpoch | None = None

    def train(self, seed: int) -> DistilledStudent:
        """Distil the teacher into a student of the kind asked for; the epoch that validation prefers."""
        kind = self.config.student.kind
        if kind == "auto":
            students = [self._train_kind(each, seed) for each in get_args(StudentKind)]
            return max(students, key=lambda trained: trained.validation.preference)
        return self._train_kind(kind, seed)

    def _train_kind(self, kind: StudentKind, seed: int) -> DistilledStudent:
        shape = self._shape(kind)
        costs = student_costs(self._widths(shape), shape)
        if kind == "mlp-ensemble":
            members = [self._train_one(shape, seed + 1000 * member) for member in range(shape.num_members)]
            return self._calibrated(self._ensemble(members, costs))
        trained = self._train_one(shape, seed)
        best = trained.selection.best
        assert best is not None, "an epoch was observed"
        most = trained.selection.test_accuracy_max
        return self._calibrated(
            DistilledStudent(trained.student, kind, costs, best, best.epoch, most, trained.history)
        )

    def _shape(self, kind: StudentKind) -> StudentConfig:
        """The student to train; the released code has experts in all layers."""
        layers = "all" if self.config.compat == "released" else self.config.student.expert_layers
        return self.config.student.model_copy(update={"kind": kind, "expert_layers": layers})

    def _train_one(self, shape: StudentConfig, seed: int) -> "_Trained":
        torch.manual_seed(seed)
        config = self.config.distill
        distiller = self._distiller(shape)
        trained = _Trained(distiller.student, Selection(config.patience), [])
        warmup_epochs = config.warmup_epochs if distiller.routes else 0
        num_epochs = warmup_epochs + config.max_epochs
        with self.log.stage(f"student {shape.kind}", num_epochs) as stage:
            for epoch in range(num_epochs):
                if distiller.routes and epoch == warmup_epochs:
                    distiller.start_routing(seed)
                    if distiller.forgets_warm_up:
                        trained.selection.forget_best()
                metrics = self._run_epoch(distiller, epoch, trained)
                stage.advance(f"validation {metrics.val_accuracy:.3f}")
                if trained.selection.exhausted and epoch >= warmup_epochs:
                    break
        distiller.restore(trained.selection, seed)
        return trained

    def _distiller(self, shape: StudentConfig) -> Distiller:
        student = build_student(self.scaling, self._widths(shape), shape).to(self.inputs.labels.device)
        kind = ReleasedDistiller if self.config.compat == "released" else Distiller
        config = self.config
        return kind(student, self.inputs, self.teacher, self.edge_index, config.distill, config.routing)

    def _run_epoch(self, distiller: Distiller, epoch: int, trained: "_Trained") -> EpochMetrics:
        distiller.train_epoch()
        metrics = distiller.measure(epoch)
        trained.selection.observe(metrics, trained.student)
        trained.history.append(EpochRecord(metrics, distiller.last_terms, distiller.last_use))
        self.log.event("epoch", **distiller.last_terms, epoch=epoch, val_accuracy=metrics.val_accuracy)
        if self.on_epoch is not None:
            self.on_epoch(metrics)
        return metrics

    def _widths(self, shape: StudentConfig) -> list[int]:
        return layer_widths(self.inputs.scaled.shape[1], self.teacher.logits.shape[1], shape)

    def _ensemble(self, members: list["_Trained"], costs: Costs) -> DistilledStudent:
        student = average_students([member.student for member in members])
        weight = self.config.distill.pseudo_unseen_weight
        metrics = answer_all(student, self.inputs).metrics(self.inputs, weight, epoch=0)
        return DistilledStudent(student, "mlp-ensemble", costs, metrics, None, None, members[0].history)

    @torch.no_grad()
    def _calibrated(self, trained: DistilledStudent) -> DistilledStudent:
        logits, labels = answer_all(trained.student, self.inputs).all_validation(self.inputs)
        trained.student.temperature.fill_(fit_temperature(logits, labels))
        return trained
