"""How much of an unseen node's accuracy depends on where its position comes from.

Dimension letters: U unseen nodes, P position width.
"""

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes

from rbm_training.config import ExperimentConfig
from rbm_training.data.graph import NOBODY, Floats, Split, make_task
from rbm_training.distillation.predictions import predict_rows
from rbm_training.encodings.encode import encode_positions
from rbm_training.evaluation.metrics import accuracy
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.report_data import UnseenAccuracy
from rbm_training.runtime.log import RunLog


def measure_unseen(config: ExperimentConfig, student: TrainedStudent) -> UnseenAccuracy | None:
    """Accuracy on unseen nodes with positions inferred, encoded with the whole graph, and at zero; None where
    there are no such nodes, or no positions."""
    data = student.data
    if not len(data.task.unseen) or not data.positions.shape[1]:
        return None
    inferred = data.inputs.unseen.positions.cpu().numpy()
    return UnseenAccuracy(
        inferred=_accuracy_at(student, inferred),
        true=_accuracy_at(student, true_positions(config, student)),
        default=_accuracy_at(student, np.zeros_like(inferred)),
    )


def _accuracy_at(student: TrainedStudent, positions: Floats) -> Floats:
    unseen, model = student.data.inputs.unseen, student.distilled.student
    scaled = model.scaling(unseen.features, torch.from_numpy(positions).to(model.device))
    logits = predict_rows(model, scaled, student.distilled.batch_rows).logits
    return np.array([accuracy(logits, unseen.labels)])


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
