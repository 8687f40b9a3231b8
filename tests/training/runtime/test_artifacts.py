import os

import numpy as np
import pytest

from rbm_training.runtime.artifacts import ArtifactStore

ARRAYS = {"found": np.arange(6, dtype=np.float32).reshape(3, 2) / 7, "order": np.arange(3)}


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def never():
    raise AssertionError("made again")


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_what_is_there_is_read_to_the_last_bit_and_not_made_again(store):
    assert_same(store.arrays("some", {"seed": 0}, lambda: ARRAYS), ARRAYS)
    assert_same(store.arrays("some", {"seed": 0}, never), ARRAYS)


def test_another_store_on_the_same_folder_finds_the_same(store, tmp_path):
    store.arrays("some", {"seed": 0}, lambda: ARRAYS)
    assert_same(ArtifactStore(tmp_path / "store").arrays("some", {"seed": 0}, never), ARRAYS)


@pytest.mark.parametrize("other", [{"seed": 1}, {"seed": "0"}, {"seed": 0, "width": 2}, {}])
def test_any_difference_in_what_it_depends_on_is_another_entry(store, other):
    store.arrays("some", {"seed": 0}, lambda: ARRAYS)
    others = {"found": 2 * ARRAYS["found"]}
    assert_same(store.arrays("some", other, lambda: others), others)
    assert_same(store.arrays("some", {"seed": 0}, never), ARRAYS)


def test_two_kinds_that_depend_on_the_same_are_kept_apart(store):
    store.arrays("some", {"seed": 0}, lambda: ARRAYS)
    others = {"found": 2 * ARRAYS["found"]}
    assert_same(store.arrays("other", {"seed": 0}, lambda: others), others)


def test_a_stage_that_fails_leaves_nothing(store, tmp_path):
    with pytest.raises(AssertionError, match="made again"):
        store.arrays("some", {"seed": 0}, never)
    assert list((tmp_path / "store").iterdir()) == []


def test_an_entry_whose_writing_was_cut_short_is_made_again(store, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.arrays("some", {"seed": 0}, lambda: ARRAYS)
    others = {"found": 2 * ARRAYS["found"]}
    assert_same(store.arrays("some", {"seed": 0}, lambda: others), others)
