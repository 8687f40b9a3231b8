import json
import os

import numpy as np
import pytest

from rbm_training.runtime.artifacts import STAGES, Artifact, ArtifactStore

MADE = Artifact(
    {"found": np.arange(6, dtype=np.float32).reshape(3, 2) / 7, "order": np.arange(3)},
    {"epoch": 3, "loss": 0.1, "parts": [1, None]},
)
OTHER = Artifact({"found": np.zeros(2)})


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def never():
    raise AssertionError("made again")


def assert_same(found, wanted):
    assert found.facts == wanted.facts
    assert found.arrays.keys() == wanted.arrays.keys()
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype


def test_what_is_there_is_read_to_the_last_bit_and_not_made_again(store):
    assert_same(store.get("teacher", {"seed": 0}, lambda: MADE), MADE)
    assert_same(store.get("teacher", {"seed": 0}, never), MADE)


def test_another_store_on_the_same_folder_finds_the_same(store, tmp_path):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    assert_same(ArtifactStore(tmp_path / "store").get("teacher", {"seed": 0}, never), MADE)


def test_arrays_are_mapped_and_not_read(store):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    assert isinstance(store.get("teacher", {"seed": 0}, never).arrays["found"], np.memmap)


@pytest.mark.parametrize("other", [{"seed": 1}, {"seed": "0"}, {"seed": 0, "width": 2}, {}])
def test_any_difference_in_what_it_depends_on_is_another_artifact(store, other):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    assert_same(store.get("teacher", other, lambda: OTHER), OTHER)
    assert_same(store.get("teacher", {"seed": 0}, never), MADE)


def test_two_stages_that_depend_on_the_same_are_kept_apart(store):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    assert_same(store.get("student", {"seed": 0}, lambda: OTHER), OTHER)


def test_an_artifact_says_what_it_depends_on(store, tmp_path):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    (file,) = (tmp_path / "store").glob("teacher-*/artifact.json")
    assert json.loads(file.read_text())["depends_on"]["seed"] == 0


def test_a_stage_that_fails_leaves_nothing(store, tmp_path):
    with pytest.raises(AssertionError, match="made again"):
        store.get("teacher", {"seed": 0}, never)
    assert list((tmp_path / "store").iterdir()) == []


def test_an_artifact_whose_writing_was_cut_short_is_made_again(store, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            store.get("teacher", {"seed": 0}, lambda: MADE)
    assert_same(store.get("teacher", {"seed": 0}, lambda: OTHER), OTHER)


def test_a_stage_that_is_to_be_remade_is_made_once(store, tmp_path):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    again = ArtifactStore(tmp_path / "store", ["teacher"])
    assert again.find("teacher", {"seed": 0}) is None
    assert_same(again.get("teacher", {"seed": 0}, lambda: OTHER), OTHER)
    assert_same(again.get("teacher", {"seed": 0}, never), OTHER)


def test_what_cannot_be_written_is_named(store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match=str(tmp_path / "store" / "teacher-")):
        store.get("teacher", {"seed": 0}, lambda: MADE)


def test_another_version_of_the_code_of_an_earlier_stage_is_another_artifact(store, monkeypatch):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    monkeypatch.setitem(STAGES, "student", STAGES["student"] + 1)
    assert store.find("teacher", {"seed": 0}) is not None
    monkeypatch.setitem(STAGES, "encodings", STAGES["encodings"] + 1)
    assert store.find("teacher", {"seed": 0}) is None


@pytest.mark.parametrize("name", ["found.npy", "artifact.json"])
@pytest.mark.parametrize("damage", ["cut short", "gone", "other bytes"])
def test_an_artifact_that_is_damaged_is_made_again(store, tmp_path, name, damage):
    store.get("teacher", {"seed": 0}, lambda: MADE)
    (file,) = (tmp_path / "store").glob(f"teacher-*/{name}")
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-3] if damage == "cut short" else content[:-1] + b"x")
    assert store.find("teacher", {"seed": 0}) is None
    assert_same(store.get("teacher", {"seed": 0}, lambda: OTHER), OTHER)
    assert_same(store.get("teacher", {"seed": 0}, never), OTHER)
