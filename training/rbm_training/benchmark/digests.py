"""What tells the runs of a comparison apart: digests of the resolved experiment and of the data."""

import hashlib
import json
from typing import Any, Final

from rbm_training.config import ExperimentConfig, StudentConfig
from rbm_training.config.candidates import student_candidates
from rbm_training.data.dataset import Dataset
from rbm_training.distillation.student_artifact import student_key
from rbm_training.students.budget import InputSize, within_budget
from rbm_training.students.kind import student_kind

NUM_DIGITS: Final = 16
OF_THE_RUN: Final = ("data", "seed", "environment", "num_threads")
"""Parts of what a student depends on that are no part of its configuration."""
NOT_PLANNED: Final[dict[str, bool | set[str]]] = {
    **dict.fromkeys(("name", "seeds", "num_threads", "export", "report"), True),
    "dataset": {"root", "path"},
}
"""Fields of an experiment that a line of a comparison does not depend on, or is named by."""


def config_digest(config: ExperimentConfig, dataset: Dataset, size: InputSize) -> str:
    """The first digits of a digest of all that an experiment says of how its student is trained, or those
    that it chooses from; names, paths, seeds and threads are none of that. Students that come to the same on
    data of this size, as an MLP and one whose width was matched, have the same digest."""
    students = within_budget(student_candidates(config), size)
    read = [_read(config.model_copy(update={"student": _resolved(each, size)}), dataset) for each in students]
    return _digest(read[0] if len(read) == 1 else read)


def _resolved(student: StudentConfig, size: InputSize) -> StudentConfig:
    kind = student_kind(student.kind)
    return kind.resolved(size.num_inputs, size.num_classes, student, size.position_width)


def _read(config: ExperimentConfig, dataset: Dataset) -> dict[str, Any]:
    """What a student depends on; its budget has become a width."""
    key = student_key(config, dataset, config.seeds[0])
    student = {name: value for name, value in key["student"].items() if name != "max_flops"}
    return {name: value for name, value in key.items() if name not in OF_THE_RUN} | {"student": student}


def planned_digest(experiment: ExperimentConfig) -> str:
    """The first digits of a digest of all that a comparison's file has otherwise than the defaults, which is
    known before data are read and anything is trained; names, seeds and where data lie are none of that, and
    fields that a later release adds change nothing."""
    return _digest(experiment.model_dump(mode="json", exclude=NOT_PLANNED, exclude_defaults=True))


def data_digest(dataset: Dataset) -> str:
    """The first digits of the digest of a graph."""
    return dataset.sha256[:NUM_DIGITS]


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:NUM_DIGITS]
