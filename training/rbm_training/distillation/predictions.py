"""What a student predictions, and how good its answers are to validation and test nodes.

Dimension letters: N observed nodes, U nodes held out, C classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_training.data.sparse_rows import Rows
from rbm_training.distillation.inputs import StudentInputs
from rbm_training.evaluation.early_stopping import EpochMetrics
from rbm_training.evaluation.metrics import accuracy
from rbm_training.students.routing import LayerRouting
from rbm_training.students.student import Student, StudentOutput


@torch.no_grad()
def predict(student: Student, scaled: Rows) -> StudentOutput:
    """What the student says in evaluation mode, to scaled inputs (B, F + P)."""
    return student.eval().classify(scaled)


@dataclass(frozen=True, slots=True)
class Validation:
    """What a student is selected by."""

    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits of all nodes of a task: observed (N, C), unseen and pseudo-unseen (U, C); `layers` is the
    routing of the observed ones."""

    observed: Tensor
    unseen: Tensor
    pseudo_unseen: Tensor
    layers: tuple[LayerRouting, ...]

    def test_accuracy(self, inputs: StudentInputs) -> float:
        """Accuracy on the setting's test nodes."""
        return accuracy(inputs.test_rows(self.observed, self.unseen), inputs.test_labels)

    def validation(self, inputs: StudentInputs, pseudo_unseen_weight: float) -> Validation:
        """Accuracy and likelihood loss on validation nodes: the mean over observed ones, and over
        pseudo-unseen ones where there are any, the latter with the weight given."""
        observed = _validation(self.observed[inputs.val], inputs.labels[inputs.val])
        if not len(inputs.pseudo_unseen):
            return observed
        unseen = _validation(self.pseudo_unseen, inputs.pseudo_unseen.labels)
        w = pseudo_unseen_weight
        return Validation(
            (1 - w) * observed.accuracy + w * unseen.accuracy, (1 - w) * observed.loss + w * unseen.loss
        )

    def metrics(self, inputs: StudentInputs, pseudo_unseen_weight: float, epoch: int) -> EpochMetrics:
        """All that an epoch is remembered by."""
        validation = self.validation(inputs, pseudo_unseen_weight)
        return EpochMetrics(epoch, validation.accuracy, validation.loss, self.test_accuracy(inputs))

    def all_validation(self, inputs: StudentInputs) -> tuple[Tensor, Tensor]:
        """Logits and labels of all validation nodes, of both kinds."""
        logits = torch.cat([self.observed[inputs.val], self.pseudo_unseen])
        return logits, torch.cat([inputs.labels[inputs.val], inputs.pseudo_unseen.labels])


def _validation(logits: Tensor, labels: Tensor) -> Validation:
    return Validation(accuracy(logits, labels), float(F.cross_entropy(logits, labels)))


def predict_all(student: Student, inputs: StudentInputs) -> Predictions:
    """The student's answers to every node of a task."""
    observed = predict(student, inputs.scaled)
    return Predictions(
        observed=observed.logits,
        unseen=predict(student, inputs.unseen.scaled).logits,
        pseudo_unseen=predict(student, inputs.pseudo_unseen.scaled).logits,
        layers=observed.layers,
    )
