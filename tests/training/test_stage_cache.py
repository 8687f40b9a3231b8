import os

import numpy as np
import pytest
import torch

from rbm_training.stage_cache import StageCache
from rbm_training.teachers import TeacherResult
from tests.training.objects import CPU

POSITIONS = np.arange(6, dtype=np.float32).reshape(3, 2) / 7


@pytest.fixture
def cache(tmp_path):
    return StageCache(tmp_path / "cache")


def never():
    raise AssertionError("made again")


def test_what_is_there_is_read_to_the_last_bit_and_not_made_again(cache):
    np.testing.assert_array_equal(cache.positions({"seed": 0}, lambda: POSITIONS), POSITIONS)
    found = cache.positions({"seed": 0}, never)
    np.testing.assert_array_equal(found, POSITIONS)
    assert found.dtype == np.float32


def test_another_cache_on_the_same_folder_finds_the_same(cache, tmp_path):
    cache.positions({"seed": 0}, lambda: POSITIONS)
    np.testing.assert_array_equal(StageCache(tmp_path / "cache").positions({"seed": 0}, never), POSITIONS)


@pytest.mark.parametrize("other", [{"seed": 1}, {"seed": "0"}, {"seed": 0, "width": 2}, {}])
def test_any_difference_in_what_it_was_made_of_is_another_entry(cache, other):
    cache.positions({"seed": 0}, lambda: POSITIONS)
    np.testing.assert_array_equal(cache.positions(other, lambda: 2 * POSITIONS), 2 * POSITIONS)
    np.testing.assert_array_equal(cache.positions({"seed": 0}, never), POSITIONS)


@pytest.mark.parametrize("missing", [[], ["entropy_shift"], ["entropy_shift", "representations"]])
def test_a_teacher_comes_back_as_it_was_without_what_it_has_not(cache, missing):
    fields = {
        "logits": torch.randn(3, 2),
        "unseen_logits": torch.randn(0, 2),
        "entropy_shift": torch.rand(3),
        "representations": torch.randn(3, 5),
    } | dict.fromkeys(missing)
    cache.teacher({"seed": 0}, lambda: TeacherResult(**fields), CPU)
    found = cache.teacher({"seed": 0}, never, CPU)
    for name, value in fields.items():
        if value is None:
            assert getattr(found, name) is None
        else:
            assert torch.equal(getattr(found, name), value)


def test_teachers_and_positions_made_of_the_same_are_kept_apart(cache):
    cache.positions({"seed": 0}, lambda: POSITIONS)
    teacher = TeacherResult(torch.randn(3, 2), torch.randn(1, 2), None, None)
    assert torch.equal(cache.teacher({"seed": 0}, lambda: teacher, CPU).logits, teacher.logits)


def test_a_stage_that_fails_leaves_nothing(cache, tmp_path):
    with pytest.raises(AssertionError, match="made again"):
        cache.positions({"seed": 0}, never)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_entry_whose_writing_was_cut_short_is_made_again(cache, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.positions({"seed": 0}, lambda: POSITIONS)
    np.testing.assert_array_equal(cache.positions({"seed": 0}, lambda: 2 * POSITIONS), 2 * POSITIONS)
