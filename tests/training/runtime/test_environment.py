import subprocess

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from rbm_training.runtime import environment
from rbm_training.runtime.environment import git_commit, seed_everything


@pytest.fixture
def _threads_as_before():
    num_threads = torch.get_num_threads()
    with threadpool_limits():
        yield
    torch.set_num_threads(num_threads)


@pytest.mark.usefixtures("_threads_as_before")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_all_libraries_compute_with_the_threads_of_the_experiment(num_threads):
    np.ones(2) @ np.ones(2)
    seed_everything(0, num_threads)
    assert torch.get_num_threads() == num_threads
    assert {pool["num_threads"] for pool in threadpool_info()} == {num_threads}


def git(folder, *arguments):
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with a module that is committed, and one that is not."""
    git(tmp_path, "init")
    for name in ("committed.py", "installed.py"):
        (tmp_path / name).touch()
    git(tmp_path, "add", "committed.py")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_the_commit_is_that_of_the_code_and_not_of_the_working_directory(repository, monkeypatch):
    monkeypatch.chdir(repository)
    assert git_commit() != git(repository, "rev-parse", "HEAD")


def test_the_commit_of_a_checkout_says_whether_it_was_changed(repository, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(repository / "committed.py"))
    head = git(repository, "rev-parse", "HEAD")
    assert git_commit() == head
    (repository / "committed.py").write_text("changed")
    assert git_commit() == f"{head}-dirty"


def test_code_that_is_installed_in_the_repository_of_somebody_else_has_no_commit(repository, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(repository / "installed.py"))
    assert git_commit() is None
