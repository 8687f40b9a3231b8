"""Training the student: warm up one expert, lay out the memory, clone, distil, keep the best epoch.

Rumiantsev & Coates, TMLR 2024, sections on initialisation and training; docs/method.md tells what differs.
Dimension letters: N observed nodes, M directed edges, F features, P position width, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rbm_training.config import ExperimentConfig
from rbm_training.distiller import Distiller, answer
from rbm_training.evaluate import fit_temperature
from rbm_training.released import ReleasedDistiller
from rbm_training.run_log import RunLog
from rbm_training.scaling import InputScaling
from rbm_training.selection import EpochMetrics, Selection
from rbm_training.student_inputs import StudentInputs
from rbm_training.students.rbm import RbMStudent, build_student
from rbm_training.teachers import TeacherResult


@dataclass(frozen=True, slots=True)
class DistilledStudent:
    """A trained student at its best epoch, and the story of its training."""

    student: RbMStudent
    selected: EpochMetrics
    history: list[EpochMetrics]
    test_accuracy_max: float


def train_student(
    inputs: StudentInputs,
    scaling: InputScaling,
    teacher: TeacherResult,
    edge_index: Tensor,
    config: ExperimentConfig,
    seed: int,
    log: RunLog,
) -> DistilledStudent:
    """Distil the teacher into an RbM student and keep the epoch that validation prefers.

    Args:
        scaling: of the inputs, fitted; becomes part of the student.
        edge_index: (2, M) edges of the observed graph, for reliable pairs.
    """
    student = _new_student(inputs, scaling, teacher.logits.shape[1], config).to(inputs.features.device)
    kind = ReleasedDistiller if config.compat == "released" else Distiller
    distiller = kind(student, inputs, teacher, edge_index, config.distill, config.routing)
    selection = Selection(config.distill.patience)
    with log.stage("student", config.distill.warmup_epochs + config.distill.max_epochs) as stage:
        for epoch in range(config.distill.warmup_epochs + config.distill.max_epochs):
            if epoch == config.distill.warmup_epochs:
                distiller.start_routing(seed)
                if distiller.forgets_warm_up:
                    selection.forget_best()
            distiller.train_epoch()
            metrics = distiller.measure(epoch)
            selection.observe(metrics, student)
            log.event("epoch", **distiller.last_terms, epoch=epoch, val_accuracy=metrics.val_accuracy)
            stage.advance(f"validation {metrics.val_accuracy:.3f}")
            if selection.exhausted and distiller.routing_started:
                break
    selected = distiller.restore(selection, seed)
    _calibrate(student, inputs)
    return DistilledStudent(student, selected, selection.history, selection.test_accuracy_max)


def _new_student(
    inputs: StudentInputs, scaling: InputScaling, num_classes: int, config: ExperimentConfig
) -> RbMStudent:
    num_features, position_width = inputs.features.shape[1], inputs.positions.shape[1]
    shape = config.student
    hidden = [shape.hidden] * (shape.num_layers - 1)
    return build_student(
        scaling,
        [num_features + position_width, *hidden, num_classes],
        shape.num_experts,
        shape.experts_per_row,
        shape.dropout,
        shape.input_gains,
    )


@torch.no_grad()
def _calibrate(student: RbMStudent, inputs: StudentInputs) -> None:
    logits = answer(student, inputs.features, inputs.positions).logits[inputs.val]
    student.temperature.fill_(fit_temperature(logits, inputs.labels[inputs.val]))
