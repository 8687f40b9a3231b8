"""How much of a node's accuracy depends on where its position comes from.

Dimension letters: U unseen nodes, P position width.
"""

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from rbm_training.config import ExperimentConfig
from rbm_training.data.graph import NOBODY, Floats, Split, make_task
from rbm_training.data.sparse_rows import Rows, only_features, row_batches
from rbm_training.distillation.inputs import HeldOut, StudentInputs
from rbm_training.distillation.predictions import predict, predict_rows
from rbm_training.encodings.encode import encode_positions
from rbm_training.evaluation.metrics import accuracy
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.report_data import UnseenAccuracy
from rbm_training.runtime.log import RunLog
from rbm_training.students.student import Student


def measure_unseen(config: ExperimentConfig, student: TrainedStudent) -> UnseenAccuracy | None:
    """Accuracy on unseen nodes with positions inferred, encoded with the whole graph, and at zero; None where
    there are no such nodes, or no positions."""
    data = student.data
    if not len(data.task.unseen) or not data.positions.shape[1]:
        return None
    inferred = data.inputs.unseen.positions.cpu().numpy()
    distilled = student.distilled
    _, default = accuracies_without_neighbors(distilled.student, data.inputs, distilled.batch_rows)
    return UnseenAccuracy(
        inferred=_accuracy_at(student, inferred),
        true=_accuracy_at(student, true_positions(config, student)),
        default=np.array([default]),
    )


def _accuracy_at(student: TrainedStudent, positions: Floats) -> Floats:
    unseen, model = student.data.inputs.unseen, student.distilled.student
    scaled = model.scaling(unseen.features, torch.from_numpy(positions).to(model.device))
    logits = predict_rows(model, scaled, student.distilled.batch_rows).logits
    return np.array([accuracy(logits, unseen.labels)])


def accuracies_without_neighbors(
    student: Student, inputs: StudentInputs, batch_rows: int
) -> tuple[float, float]:
    """Accuracy on validation and on test nodes as if no neighbour of theirs were known: with zeros for
    positions, as in the service. Of validation nodes the pseudo-unseen ones, if there are any: what the
    teacher says of the others was learnt."""

    def logits(scaled: Rows, wanted: Tensor | None = None) -> Tensor:
        batches = row_batches(scaled, batch_rows, wanted)
        bare = (only_features(batch, student.num_features) for batch in batches)
        return torch.cat([predict(student, batch).logits for batch in bare])

    def of_group(held_out: HeldOut, observed: Tensor) -> float:
        if len(held_out):
            return accuracy(logits(held_out.scaled), held_out.labels)
        return accuracy(logits(inputs.scaled, observed), inputs.labels[observed])

    return of_group(inputs.pseudo_unseen, inputs.val), of_group(inputs.unseen, inputs.test)


def true_positions(config: ExperimentConfig, student: TrainedStudent) -> Floats:
    """Positions (U, P) of the unseen nodes, encoded with the whole graph.

    An encoding has no orientation of its own, so this one is turned until those of observed nodes fall as
    near as possible on the ones the student knows (orthogonal Procrustes).
    """
    task = student.data.task
    seen = task.observed_nodes
    split = Split(seen[task.train], seen[task.val], np.concatenate([seen[task.test], task.unseen]), NOBODY)
    encoded = encode_positions(make_task(task.graph, split), config.positions, student.seed, RunLog(None))
    turn, _ = orthogonal_procrustes(encoded[seen], student.data.positions)
    return np.ascontiguousarray(encoded[task.unseen] @ turn, np.float32)
