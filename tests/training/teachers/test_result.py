import pytest
import torch

from rbm_training.teachers import TeacherResult
from tests.training.objects import CPU


@pytest.mark.parametrize("missing", [[], ["entropy_shift"], ["entropy_shift", "representations"]])
def test_a_teacher_comes_back_from_its_arrays_without_what_it_has_not(missing):
    given = {
        "logits": torch.randn(3, 2),
        "unseen_logits": torch.randn(0, 2),
        "entropy_shift": torch.rand(3),
        "representations": torch.randn(3, 5),
    } | dict.fromkeys(missing)
    found = TeacherResult.from_artifact(TeacherResult(**given).as_artifact(), CPU)
    for name, value in given.items():
        if value is None:
            assert getattr(found, name) is None
        else:
            assert torch.equal(getattr(found, name), value)
