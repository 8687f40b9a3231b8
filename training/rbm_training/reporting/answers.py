"""What accuracy alone does not say of a student's answers to the test nodes.

Dimension letters: T test nodes, C classes.
"""

from typing import Any

import numpy as np
from sklearn.metrics import f1_score, recall_score
from torch import Tensor

from rbm_training.distillation.training_data import TrainingData
from rbm_training.evaluation.intervals import lead_error, share_interval
from rbm_training.evaluation.rare_classes import rare_classes


def describe_answers(data: TrainingData, student: Tensor, baseline: Tensor) -> dict[str, Any]:
    """Fields of a `SeedReport`, from the logits (T, C) of student and baseline."""
    inputs, names = data.inputs, data.task.graph.class_names
    teacher = inputs.test_rows(data.teacher.logits, data.teacher.unseen_logits)
    labels = inputs.test_labels.cpu().numpy()
    of_student, of_teacher, of_baseline = (
        logits.double().softmax(dim=1).cpu().numpy() for logits in (student, teacher, baseline)
    )
    predicted, right = of_student.argmax(axis=1), of_baseline.argmax(axis=1) == labels
    given = np.unique(predicted)
    commonest = int(inputs.labels[inputs.train].bincount().argmax())
    return {
        "num_test_nodes": len(labels),
        "test_accuracy_interval": list(share_interval(float((predicted == labels).mean()), len(labels))),
        "baseline_margin_error": lead_error(predicted == labels, right),
        "majority_accuracy": float((labels == commonest).mean()),
        "only_answer": names[given[0]] if len(given) == 1 else None,
        "macro_recall": float(recall_score(labels, predicted, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "rare_classes": rare_classes(labels, of_student, of_teacher, of_baseline, names),
    }
