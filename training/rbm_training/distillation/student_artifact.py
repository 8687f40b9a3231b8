"""A trained student as an artifact, and back.

Dimension letters: D inputs, C classes.
"""

from dataclasses import asdict
from typing import Any

import torch

from rbm_training.config import ExperimentConfig, StudentConfig
from rbm_training.data.dataset import Dataset
from rbm_training.data.scaling import InputScaling
from rbm_training.distillation.refit_plan import RefitPlan
from rbm_training.distillation.train import (
    DistilledStudent,
    EpochRecord,
    best_of_kinds,
    train_student,
)
from rbm_training.distillation.training_data import TrainingData, cache_key
from rbm_training.evaluation.early_stopping import EpochMetrics
from rbm_training.runtime.artifacts import Artifact, ArtifactStore
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import RunLog
from rbm_training.students.complexity import Costs
from rbm_training.students.kind import student_kind
from rbm_training.students.routing import LayerUse
from rbm_training.students.student import Student


def trained_student(
    config: ExperimentConfig,
    dataset: Dataset,
    data: TrainingData,
    seed: int,
    log: RunLog,
    store: ArtifactStore,
    plan: RefitPlan | None = None,
) -> DistilledStudent:
    """Return the student of a seed, trained if it is not there; of kind `auto`, the best of its kinds, and
    under a budget as wide as that allows."""

    def of_one_kind(config: ExperimentConfig) -> DistilledStudent:
        key = student_key(config, dataset, seed, plan)

        def make() -> Artifact:
            checkpoint = Checkpoint(store.checkpoint_file("student", key), log, config.plugins)
            return as_artifact(train_student(config, data, seed, log, checkpoint, plan))

        artifact = store.get("student", key, make)
        return from_artifact(artifact, data.scaling, config.student)

    return best_of_kinds(config, data, of_one_kind)


def student_key(
    config: ExperimentConfig, dataset: Dataset, seed: int, plan: RefitPlan | None = None
) -> dict[str, Any]:
    """Return what the student of a seed depends on."""
    read = ("compat", "scaling", "positions", "teacher", "student", "routing", "distill")
    return cache_key(config, dataset, seed, *read, plan=plan)


def as_artifact(distilled: DistilledStudent) -> Artifact:
    """Return the weights of a student as arrays, and how it was trained as facts."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in distilled.student.state_dict().items()}
    return Artifact(
        arrays,
        {
            "kind": distilled.student.kind,
            "widths": distilled.student.layer_widths,
            "routed": [layer.routed for layer in distilled.student.expert_layers()],
            "costs": asdict(distilled.costs),
            "validation": asdict(distilled.validation),
            "selected_epoch": distilled.selected_epoch,
            "test_accuracy_max": distilled.test_accuracy_max,
            "num_epochs": list(distilled.num_epochs),
            "batch_rows": distilled.batch_rows,
            "hard_label_weight": distilled.hard_label_weight,
            "history": [asdict(record) for record in distilled.history],
        },
    )


def from_artifact(artifact: Artifact, scaling: InputScaling, shape: StudentConfig) -> DistilledStudent:
    """Return the student that `as_artifact` was asked of, on the device of the scaling."""
    facts = artifact.facts
    return DistilledStudent(
        student=_student(artifact, scaling, shape),
        shape=shape,
        costs=Costs(**facts["costs"]),
        validation=EpochMetrics(**facts["validation"]),
        selected_epoch=facts["selected_epoch"],
        test_accuracy_max=facts["test_accuracy_max"],
        num_epochs=tuple(facts["num_epochs"]),
        history=[_record(record) for record in facts["history"]],
        batch_rows=facts["batch_rows"],
        hard_label_weight=facts["hard_label_weight"],
    )


def _student(artifact: Artifact, scaling: InputScaling, shape: StudentConfig) -> Student:
    facts = artifact.facts
    student = student_kind(shape.kind).restored(scaling, facts["widths"], shape)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in artifact.arrays.items()}
    student.load_state_dict(tensors)
    for layer, routed in zip(student.expert_layers(), facts["routed"], strict=True):
        layer.routed = routed
    return student.to(scaling.mean.device).eval()


def _record(record: dict[str, Any]) -> EpochRecord:
    return EpochRecord(
        EpochMetrics(**record["metrics"]), record["terms"], [LayerUse(**use) for use in record["use"]]
    )
