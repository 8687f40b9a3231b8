import pytest
import torch

from rbm_training.config import ExperimentConfig
from rbm_training.config.base import merged
from rbm_training.config.registry import STUDENTS
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.predictions import predict
from rbm_training.distillation.student_artifact import as_artifact, from_artifact, trained_student
from rbm_training.distillation.train import train_student
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.checkpoint import Checkpoint
from tests.training.objects import SMALL_CONFIG


@pytest.mark.parametrize("kind", list(STUDENTS))
def test_a_student_of_any_kind_is_found_as_it_was_left(data, log, kind):
    student = SMALL_CONFIG.student.model_copy(update={"kind": kind, "num_members": 2})
    distill = SMALL_CONFIG.distill.model_copy(update={"max_epochs": 2})
    config = SMALL_CONFIG.model_copy(update={"student": student, "distill": distill})
    left = train_student(config, data, 0, log, Checkpoint(None, log))
    artifact = as_artifact(left)
    found = from_artifact(artifact, data.scaling, config.student)
    assert found.student.kind == kind
    assert (found.costs, found.validation, found.history) == (left.costs, left.validation, left.history)
    said = [predict(each.student, data.inputs.scaled).logits for each in (left, found)]
    assert torch.equal(*said)


def test_the_kinds_of_auto_are_artifacts_of_their_own(data, log, tmp_path):
    def student_of_kind(kind):
        changes = {"student": {"kind": kind}, "distill": {"max_epochs": 2}}
        config = ExperimentConfig.model_validate(merged(SMALL_CONFIG.model_dump(), changes))
        return trained_student(
            config, load_dataset(config.dataset), data, 0, log, ArtifactStore(tmp_path / "artifacts")
        )

    student_of_kind("auto")
    there = sorted(path.name for path in (tmp_path / "artifacts").iterdir())
    assert len(there) == 3
    student_of_kind("mlp")
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == there
