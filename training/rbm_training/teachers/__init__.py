"""Who the student learns from: GNNs trained on the observed graph, alone or as an ensemble."""

from rbm_training.teachers.result import TeacherResult
from rbm_training.teachers.training import TeacherInputs, train_teacher

__all__ = ["TeacherInputs", "TeacherResult", "train_teacher"]
