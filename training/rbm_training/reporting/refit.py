"""One more fit, on all labels and all nodes, of what was measured on some: what is then shipped."""

from dataclasses import dataclass
from typing import Final

import torch

from rbm_training.config import ExperimentConfig
from rbm_training.data.dataset import Dataset
from rbm_training.distillation.predictions import predict_all
from rbm_training.distillation.refit_plan import RefitPlan
from rbm_training.distillation.student_artifact import trained_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.log import RunLog

MOST_DISAGREEMENT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Refit:
    """A student fitted once more; `disagreement` is the share of nodes that it classifies otherwise than the
    measured one, of those that both know."""

    trained: TrainedStudent
    disagreement: float

    @property
    def is_exported(self) -> bool:
        """Whether it is near enough to what was measured to be shipped in its place."""
        return self.disagreement <= MOST_DISAGREEMENT


def refit(
    config: ExperimentConfig, dataset: Dataset, measured: TrainedStudent, log: RunLog, store: ArtifactStore
) -> Refit:
    """Train the same teacher and student as long as they were trained when they were measured.

    Epochs, the temperature of probabilities, the weight of labels and the strength of logistic regression are
    those of the measured fit: no label is left to choose them by.
    """
    plan, seed = _plan(measured), measured.seed
    data = prepare_training_data(config, dataset, seed, log, store, plan)
    chosen = config.model_copy(update={"student": measured.distilled.shape})
    distilled = trained_student(chosen, dataset, data, seed, log, store, plan)
    trained = TrainedStudent(measured.name, seed, data, distilled)
    found = Refit(trained, _disagreement(measured, trained))
    log.event("refit", disagreement=found.disagreement, exported=found.is_exported)
    return found


def _plan(measured: TrainedStudent) -> RefitPlan:
    data, distilled = measured.data, measured.distilled
    return RefitPlan(
        strength=data.baseline.strength,
        teacher=data.teacher.members,
        num_epochs=distilled.num_epochs,
        temperature=float(distilled.student.temperature),
        hard_label_weight=distilled.hard_label_weight,
    )


def _disagreement(measured: TrainedStudent, again: TrainedStudent) -> float:
    nodes = torch.from_numpy(measured.data.task.observed_nodes)
    before, after = (
        predict_all(each.distilled.student, each.data.inputs, each.distilled.batch_rows).observed.argmax(
            dim=1
        )
        for each in (measured, again)
    )
    return float((before.cpu() != after.cpu()[nodes]).double().mean())
