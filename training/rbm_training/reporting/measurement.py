"""From what was trained to what is reported: the same three groups of nodes for student, teacher, baseline.

Dimension letters: N observed nodes, U unseen nodes, F features, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rbm_training.data.sparse_rows import Rows, as_array
from rbm_training.distillation.inputs import StudentInputs
from rbm_training.distillation.predictions import predict_all
from rbm_training.distillation.train import DistilledStudent
from rbm_training.distillation.training_data import TrainingData
from rbm_training.evaluation.calibration import calibration_error
from rbm_training.evaluation.metrics import accuracy, production_accuracy
from rbm_training.reporting.answers import describe_answers
from rbm_training.reporting.position_ablation import accuracies_without_neighbors
from rbm_training.reporting.summary import SeedReport
from rbm_training.students.routing import expert_usage


@dataclass(frozen=True, slots=True)
class GroupAccuracies:
    """Accuracy on validation, observed test and unseen nodes; None for a group without nodes."""

    val: float
    observed_test: float | None
    unseen: float | None

    @property
    def test(self) -> float:
        """Accuracy on the setting's test nodes: the unseen ones where there are any."""
        value = self.unseen if self.unseen is not None else self.observed_test
        assert value is not None, "a task has test nodes"
        return value

    @property
    def production(self) -> float | None:
        """Accuracy on the mixture of unseen and observed nodes that production sees."""
        return None if self.unseen is None else production_accuracy(self.unseen, self.observed_test)


def measure_seed(data: TrainingData, distilled: DistilledStudent, seed: int, seconds: float) -> SeedReport:
    """Everything that is reported of one seed."""
    student, inputs, teacher = distilled.student, data.inputs, data.teacher
    predictions = predict_all(student, inputs, distilled.batch_rows)
    test_logits = inputs.test_rows(predictions.observed, predictions.unseen)
    groups = group_accuracies(inputs, predictions.observed, predictions.unseen)
    teacher_groups = group_accuracies(inputs, teacher.logits, teacher.unseen_logits)
    baseline_logits = [_baseline_logits(data, nodes.features) for nodes in (inputs, inputs.unseen)]
    baseline = group_accuracies(inputs, *baseline_logits)
    inductive = data.task.setting == "inductive"
    return SeedReport(
        seed=seed,
        student=student.kind,
        num_training_labels=len(inputs.train),
        untrained_classes=data.task.untrained_classes,
        layer_widths=student.layer_widths,
        num_experts=student.num_experts,
        num_parameters=distilled.costs.num_parameters,
        flops_per_node=distilled.costs.flops_per_node,
        sparse_flops_per_node=distilled.costs.sparse_flops_per_node,
        selected_epoch=distilled.selected_epoch,
        num_epochs=len(distilled.history),
        val_accuracy=distilled.validation.val_accuracy,
        test_accuracy=groups.test,
        test_accuracy_max=distilled.test_accuracy_max,
        unseen_accuracy=groups.unseen,
        observed_test_accuracy=groups.observed_test if inductive else None,
        production_accuracy=groups.production,
        teacher_val_accuracy=teacher_groups.val,
        teacher_test_accuracy=teacher_groups.test,
        teacher_unseen_accuracy=teacher_groups.unseen,
        teacher_observed_test_accuracy=teacher_groups.observed_test if inductive else None,
        baseline_val_accuracy=baseline.val,
        baseline_test_accuracy=baseline.test,
        baseline_observed_test_accuracy=baseline.observed_test if inductive else None,
        **describe_answers(data, test_logits, inputs.test_rows(*baseline_logits)),
        calibration_error=calibration_error(
            (test_logits / student.temperature).softmax(dim=1), inputs.test_labels
        ),
        calibration_error_uncalibrated=calibration_error(test_logits.softmax(dim=1), inputs.test_labels),
        expert_usage=expert_usage(predictions.choices),
        seconds=round(seconds, 3),
        **_without_neighbors(data, distilled, baseline),
    )


def group_accuracies(inputs: StudentInputs, logits: Tensor, unseen_logits: Tensor) -> GroupAccuracies:
    """Accuracies of answers to observed (N, C) and unseen nodes (U, C); validation on observed ones."""

    def observed(rows: Tensor) -> float:
        return accuracy(logits[rows], inputs.labels[rows])

    return _by_group(inputs, observed, lambda: accuracy(unseen_logits, inputs.unseen.labels))


def _without_neighbors(
    data: TrainingData, distilled: DistilledStudent, baseline: GroupAccuracies
) -> dict[str, Any]:
    """Fields of a `SeedReport`: the student as if no neighbour were known, and logistic regression on the
    same nodes; none for a student without positions."""
    student, pseudo_unseen = distilled.student, data.inputs.pseudo_unseen
    if not student.position_width:
        return {}
    val, test = accuracies_without_neighbors(student, data.inputs, distilled.batch_rows)
    baseline_val = baseline.val
    if len(pseudo_unseen):
        baseline_val = accuracy(_baseline_logits(data, pseudo_unseen.features), pseudo_unseen.labels)
    return {
        "val_accuracy_without_neighbors": val,
        "test_accuracy_without_neighbors": test,
        "baseline_val_accuracy_without_neighbors": baseline_val,
        "baseline_test_accuracy_without_neighbors": baseline.test,
    }


def _baseline_logits(data: TrainingData, features: Rows) -> Tensor:
    """What logistic regression says of features (B, F), (B, C)."""
    scaled = as_array(data.scaling.scale_features(features))
    return torch.from_numpy(data.baseline.logits(scaled)).to(data.inputs.labels.device)


def _by_group(
    inputs: StudentInputs, observed: Callable[[Tensor], float], unseen: Callable[[], float]
) -> GroupAccuracies:
    return GroupAccuracies(
        val=observed(inputs.val),
        observed_test=observed(inputs.test) if len(inputs.test) else None,
        unseen=unseen() if len(inputs.unseen) else None,
    )
