"""Relative paths are those of the file that names them, wherever a command is run."""

from pathlib import Path

import pytest

from rbm_training.benchmark.plan import load_comparison
from rbm_training.config import load_config
from rbm_training.config.loading import as_toml
from rbm_training.config.paths import with_absolute_paths, with_bare_paths
from rbm_training.tuning.space import load_tuning

EXPERIMENT = """
name = "mine"
[dataset]
kind = "files"
path = "../graphs/mine.npz"
[teacher]
kind = "precomputed"
logits = "logits.npy"
"""
SEARCH = """
experiment = "mine.toml"
[overrides.dataset]
path = "o.npz"
[space]
"distill.gram" = {low = 0, high = 1}
"""
COMPARISON = """
datasets = ["cora"]
data_root = "sets"
[method.rbm.teacher]
kind = "precomputed"
logits = "l.npy"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "experiments" / "mine.toml"
    path.parent.mkdir()
    path.write_text(EXPERIMENT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return path


def test_paths_of_a_file_are_relative_to_it_and_absolute_for_others(file, tmp_path):
    config = load_config(Path("../experiments/mine.toml"))
    assert config.dataset.path == tmp_path / "graphs" / "mine.npz"
    assert config.teacher.logits == tmp_path / "experiments" / "logits.npy"
    assert config.dataset.root == Path("data")  # of the working directory, as long as no file sets it


def test_a_root_that_a_file_sets_is_relative_to_it(tmp_path):
    dataset = '[dataset]\nkind = "named"\nname = "cora"\nroot = "sets"\n'
    (tmp_path / "mine.toml").write_text(f'name = "mine"\n{dataset}')
    assert load_config(tmp_path / "mine.toml").dataset.root == tmp_path / "sets"


def test_paths_of_overrides_are_relative_to_the_working_directory(file, tmp_path):
    config = load_config(file, ["dataset.path=own.npz", "teacher={kind='precomputed', logits='own.npy'}"])
    assert config.dataset.path == tmp_path / "elsewhere" / "own.npz"
    assert config.teacher.logits == tmp_path / "elsewhere" / "own.npy"


def test_a_resolved_experiment_may_lie_anywhere(file, tmp_path):
    config = load_config(file)
    resolved = tmp_path / "run" / "config.toml"
    resolved.parent.mkdir()
    resolved.write_text(as_toml(config))
    again = load_config(resolved)
    assert (again.dataset.path, again.teacher) == (config.dataset.path, config.teacher)
    assert again.dataset.root == tmp_path / "elsewhere" / "data"


def test_paths_of_a_search_and_of_a_comparison_are_relative_to_their_files(file, tmp_path):
    search = file.parent / "search.toml"
    search.write_text(SEARCH)
    tuning = load_tuning(search)
    assert tuning.experiment == file
    assert tuning.document()["dataset"]["path"] == str(file.parent / "o.npz")
    assert tuning.document()["teacher"]["logits"] == str(file.parent / "logits.npy")
    comparison = file.parent / "comparison.toml"
    comparison.write_text(COMPARISON)
    config = load_comparison(comparison)
    assert config.data_root == file.parent / "sets"
    assert config.method["rbm"]["teacher"]["logits"] == str(file.parent / "l.npy")


def test_what_is_no_path_or_no_table_is_left_to_those_who_check():
    document = {"dataset": "cora", "teacher": {"logits": 3}, "student": {"path": "a"}, "path": "b"}
    assert with_absolute_paths(document, Path("/")) == document


def test_what_is_kept_has_the_names_alone():
    document = {"dataset": {"root": "/a/data", "path": "/a/b/mine.npz"}, "name": "x/y"}
    assert with_bare_paths(document) == {"dataset": {"root": "data", "path": "mine.npz"}, "name": "x/y"}
