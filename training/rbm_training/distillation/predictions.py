"""What a student answers, and how good its answers are to validation and test nodes.

Dimension letters: B rows, N observed nodes, U nodes held out, V validation nodes, T test nodes, C classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_training.data.sparse_rows import Rows, row_batches
from rbm_training.distillation.inputs import StudentInputs
from rbm_training.evaluation.early_stopping import EpochMetrics
from rbm_training.evaluation.metrics import accuracy
from rbm_training.students.routing import LayerChoices
from rbm_training.students.student import Student, StudentOutput


@torch.no_grad()
def predict(student: Student, scaled: Rows) -> StudentOutput:
    """What the student says in evaluation mode, to one batch of scaled inputs (B, F + P)."""
    return student.eval().classify(scaled)


@dataclass(frozen=True, slots=True)
class RowPredictions:
    """Logits (B, C) of some rows, and the experts that each layer that routes chose for them."""

    logits: Tensor
    choices: tuple[LayerChoices, ...]


def predict_rows(
    student: Student, scaled: Rows, batch_rows: int, wanted: Tensor | None = None
) -> RowPredictions:
    """What the student says to scaled inputs (N, F + P), or to those of them that are wanted.

    Of a batch only logits and chosen experts are kept: together, the inputs of all layers would not fit.

    Args:
        batch_rows: rows that a forward pass takes.
    """
    parts = [_of(predict(student, batch)) for batch in row_batches(scaled, batch_rows, wanted)]
    choices = zip(*(part.choices for part in parts), strict=True)
    return RowPredictions(
        torch.cat([part.logits for part in parts]),
        tuple(
            LayerChoices(torch.cat([batch.experts for batch in layer]), layer[0].num_experts)
            for layer in choices
        ),
    )


def _of(output: StudentOutput) -> RowPredictions:
    return RowPredictions(output.logits, tuple(layer.choices() for layer in output.layers))


@dataclass(frozen=True, slots=True)
class Validation:
    """What a student is selected by."""

    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Logits of the nodes that select and test: validation (V, C), pseudo-unseen (U, C), test nodes (T, C);
    `choices` are the experts of the validation nodes."""

    val: Tensor
    pseudo_unseen: Tensor
    test: Tensor
    choices: tuple[LayerChoices, ...]

    def test_accuracy(self, inputs: StudentInputs) -> float:
        """Accuracy on the setting's test nodes."""
        return accuracy(self.test, inputs.test_labels)

    def validation(self, inputs: StudentInputs, pseudo_unseen_weight: float) -> Validation:
        """Accuracy and likelihood loss on validation nodes: the mean over observed ones, and over
        pseudo-unseen ones where there are any, the latter with the weight given."""
        observed = _validation(self.val, inputs.labels[inputs.val])
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
        labels = torch.cat([inputs.labels[inputs.val], inputs.pseudo_unseen.labels])
        return torch.cat([self.val, self.pseudo_unseen]), labels


def _validation(logits: Tensor, labels: Tensor) -> Validation:
    return Validation(accuracy(logits, labels), float(F.cross_entropy(logits, labels)))


def evaluate(student: Student, inputs: StudentInputs, batch_rows: int) -> Evaluation:
    """The student's answers to validation and test nodes, and to no others."""
    val = predict_rows(student, inputs.scaled, batch_rows, inputs.val)
    pseudo_unseen = predict_rows(student, inputs.pseudo_unseen.scaled, batch_rows)
    if len(inputs.unseen):
        test = predict_rows(student, inputs.unseen.scaled, batch_rows)
    else:
        test = predict_rows(student, inputs.scaled, batch_rows, inputs.test)
    return Evaluation(val.logits, pseudo_unseen.logits, test.logits, val.choices)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits of all nodes of a task: observed (N, C), unseen and pseudo-unseen (U, C); `choices` are the
    experts of the observed ones."""

    observed: Tensor
    unseen: Tensor
    pseudo_unseen: Tensor
    choices: tuple[LayerChoices, ...]

    def evaluation(self, inputs: StudentInputs) -> Evaluation:
        """Of these, the answers to validation and test nodes."""
        return Evaluation(
            val=self.observed[inputs.val],
            pseudo_unseen=self.pseudo_unseen,
            test=inputs.test_rows(self.observed, self.unseen),
            choices=tuple(layer.rows(inputs.val) for layer in self.choices),
        )


def predict_all(student: Student, inputs: StudentInputs, batch_rows: int) -> Predictions:
    """The student's answers to every node of a task."""
    observed = predict_rows(student, inputs.scaled, batch_rows)
    return Predictions(
        observed=observed.logits,
        unseen=predict_rows(student, inputs.unseen.scaled, batch_rows).logits,
        pseudo_unseen=predict_rows(student, inputs.pseudo_unseen.scaled, batch_rows).logits,
        choices=observed.choices,
    )
