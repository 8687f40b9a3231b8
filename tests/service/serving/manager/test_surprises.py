"""Whatever the repository holds and whatever goes wrong, later promotions are taken up."""

import asyncio
import os
import shutil
import subprocess
import sys

import pytest
from pydantic_core import to_json
from structlog.testing import capture_logs

from rbm_bundle import ShadowSpec
from rbm_bundle.repository import MAX_TEXT_BYTES
from rbm_service.errors import ModelRefusedError
from rbm_service.serving import loader
from tests.bundles import TINY

LOADED = ["loading model", "model loaded"]
NO_UTF_8 = b"caf\xe9.npy"


def spoil(following, version):
    """A file whose name is no UTF-8 in a version."""
    (following.folder / str(version) / os.fsdecode(NO_UTF_8)).touch()


def look_as_lines(following):
    """The refusals of one look, as JSON."""
    with capture_logs() as lines:
        asyncio.run(asyncio.wait_for(following.manager.poll_once(), 60))
    return [to_json(line).decode() for line in lines if line["log_level"] == "error"]


def assert_later_promotions_are_taken_up(following):
    version = following.publish(promote=True)
    assert following.look()[: len(LOADED)] == LOADED
    assert following.version == version
    following.models.check_ready()


def test_a_file_whose_name_is_no_utf_8_is_named_in_log_answer_and_index(following):
    version = following.publish(promote=True)
    spoil(following, version)
    (line,) = look_as_lines(following)
    assert r"caf\\udce9.npy besides" in line
    assert look_as_lines(following) == []
    for command in (following.manager.reload("tiny"), following.manager.promote("tiny", version)):
        with pytest.raises(ModelRefusedError, match=r"caf\\udce9\.npy besides"):
            asyncio.run(command)
    (row,) = [row for row in asyncio.run(following.manager.index()) if row.state == "UNAVAILABLE"]
    assert row.version == version
    assert to_json(row.reason)
    assert_later_promotions_are_taken_up(following)


def test_a_shadow_with_a_file_whose_name_is_no_utf_8_is_refused_alone(following):
    version = following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    spoil(following, version)
    (line,) = look_as_lines(following)
    assert "shadow refused" in line
    assert_later_promotions_are_taken_up(following)


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_folder_in_the_place_of_a_pointer_is_refused_once(following, pointer):
    (following.folder / pointer).unlink(missing_ok=True)
    (following.folder / pointer).mkdir()
    assert len(look_as_lines(following)) == 1
    assert look_as_lines(following) == []
    (following.folder / pointer).rmdir()
    assert_later_promotions_are_taken_up(following)


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_pipe_in_the_place_of_a_pointer_is_refused_once_and_not_waited_for(following, pointer):
    (following.folder / pointer).unlink(missing_ok=True)
    os.mkfifo(following.folder / pointer)
    (line,) = look_as_lines(following)
    assert "not a plain file" in line
    assert look_as_lines(following) == []
    (following.folder / pointer).unlink()
    assert_later_promotions_are_taken_up(following)


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_change_behind_many_spaces_in_a_pointer_is_seen(following, pointer):
    version = following.publish()
    content = {"CURRENT": b"%d", "SHADOW": b"%d 1.0"}[pointer] % version
    padding = b" " * (MAX_TEXT_BYTES - len(content))
    (following.folder / pointer).write_bytes(padding + content)
    assert look_as_lines(following) == []
    if pointer == "CURRENT":
        assert following.version == version
    else:
        assert following.models.shadows["tiny"].spec == ShadowSpec(version, 1.0)


def test_a_repository_that_vanishes_and_comes_back_changes_nothing(following, tmp_path):
    root = following.repository.root
    root.rename(tmp_path / "away")
    assert len(look_as_lines(following)) == 1
    assert look_as_lines(following) == []
    assert [row.state for row in asyncio.run(following.manager.index())] == ["READY", "UNAVAILABLE"]
    (tmp_path / "away").rename(root)
    assert look_as_lines(following) == []
    assert [row.state for row in asyncio.run(following.manager.index())] == ["READY"]
    assert_later_promotions_are_taken_up(following)


def test_a_model_that_vanishes_and_comes_back_changes_nothing(following):
    shutil.rmtree(following.folder)
    assert len(look_as_lines(following)) == 1
    assert following.publish() == 1
    following.repository.set_current("tiny", 1)
    assert look_as_lines(following) == []
    assert_later_promotions_are_taken_up(following)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "/x"), ValueError("\udcff")])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (loader.ModelRepository, "fingerprint"),
        (loader.Loader, "promoted_version"),
        (loader.Loader, "load"),
        (loader.Loader, "load_shadow"),
        (loader.ModelRepository, "path_of"),
    ],
)
def test_no_error_ends_the_following(following, monkeypatch, error, where, name):
    def fail(*arguments):
        raise error

    version = following.publish(promote=True)
    following.repository.set_shadow("tiny", ShadowSpec(1, 1.0))
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr(where, name, fail)
        asyncio.run(following.manager.poll_once())
    assert_later_promotions_are_taken_up(following)
    assert version == following.version - 1


def test_an_error_of_the_operating_system_is_told_to_the_admin(following, monkeypatch):
    def fail(*arguments):
        raise PermissionError(13, "Permission denied", "/models/tiny/2")

    following.publish()
    monkeypatch.setattr(loader, "read_manifest", fail)
    with capture_logs(), pytest.raises(ModelRefusedError, match="Permission denied: '/models/tiny/2'"):
        asyncio.run(following.manager.promote("tiny", 2))


def test_an_error_after_the_load_does_not_end_the_following(following, monkeypatch):
    def fail(model):
        raise RuntimeError("\udcff")

    following.publish(promote=True)
    with monkeypatch.context() as patched:
        patched.setattr(following.models, "swap", fail)
        lines = look_as_lines(following)
    assert "promotions not looked for" in lines[-1]
    assert_later_promotions_are_taken_up(following)


def test_a_thread_that_cannot_be_started_once_is_started_later(following, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    following.publish(promote=True)
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr("threading.Thread.start", refuse)
        asyncio.run(following.manager.poll_once())
    assert following.version == 1
    assert following.look() == LOADED


def test_an_index_of_a_repository_that_cannot_be_read_lists_what_is_known(following, monkeypatch):
    def fail(repository):
        raise PermissionError(13, "Permission denied", "/models")

    monkeypatch.setattr(type(following.repository), "names", fail)
    with capture_logs() as lines:
        rows = asyncio.run(following.manager.index())
    assert [(row.name, row.state) for row in rows] == [("tiny", "READY")]
    assert [line["event"] for line in lines] == ["repository cannot be read"]


LOADS_FOR_EVER = """
import asyncio, sys, threading
from pathlib import Path
from rbm_bundle import ModelRepository
from rbm_service.observability.metrics import Metrics
from rbm_service.serving import loader
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.settings import Settings

async def main():
    repository, bundle = ModelRepository(Path(sys.argv[1])), Path(sys.argv[2])
    repository.promote("tiny", repository.publish(bundle))
    metrics = Metrics()
    settings = Settings(models_dir=repository.root, device="cpu")
    manager = ModelManager(settings, metrics, ModelRegistry(metrics))
    manager.start()
    entered = threading.Event()
    loader.Loader._verify_and_warm = lambda *_: (entered.set(), threading.Event().wait())
    repository.promote("tiny", repository.publish(bundle))
    polling = asyncio.create_task(manager.poll_once())
    await asyncio.to_thread(entered.wait)
    polling.cancel()
    manager.close()

asyncio.run(main())
"""


def test_a_load_that_never_ends_does_not_keep_the_process(tmp_path):
    command = [sys.executable, "-c", LOADS_FOR_EVER, tmp_path, TINY]
    assert subprocess.run(command, timeout=60).returncode == 0
