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


def spoil(managed, version):
    """A file whose name is no UTF-8 in a version."""
    (managed.folder / str(version) / os.fsdecode(NO_UTF_8)).touch()


def poll_as_lines(managed):
    """The refusals of one poll, as JSON."""
    with capture_logs() as lines:
        asyncio.run(asyncio.wait_for(managed.manager.poll_once(), 60))
    return [to_json(line).decode() for line in lines if line["log_level"] == "error"]


def assert_later_promotions_are_taken_up(managed):
    version = managed.publish(promote=True)
    assert managed.poll()[: len(LOADED)] == LOADED
    assert managed.version == version
    managed.models.check_ready()


def test_a_file_whose_name_is_no_utf_8_is_named_in_log_answer_and_index(managed):
    version = managed.publish(promote=True)
    spoil(managed, version)
    (line,) = poll_as_lines(managed)
    assert r"caf\\udce9.npy besides" in line
    assert poll_as_lines(managed) == []
    for command in (managed.manager.reload("tiny"), managed.manager.promote("tiny", version)):
        with pytest.raises(ModelRefusedError, match=r"caf\\udce9\.npy besides"):
            asyncio.run(command)
    (row,) = [row for row in asyncio.run(managed.manager.index()) if row.state == "UNAVAILABLE"]
    assert row.version == version
    assert to_json(row.reason)
    assert_later_promotions_are_taken_up(managed)


def test_a_shadow_with_a_file_whose_name_is_no_utf_8_is_refused_alone(managed):
    version = managed.publish()
    managed.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    spoil(managed, version)
    (line,) = poll_as_lines(managed)
    assert "shadow refused" in line
    assert_later_promotions_are_taken_up(managed)


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_folder_in_the_place_of_a_pointer_is_refused_once(managed, pointer):
    (managed.folder / pointer).unlink(missing_ok=True)
    (managed.folder / pointer).mkdir()
    assert len(poll_as_lines(managed)) == 1
    assert poll_as_lines(managed) == []
    (managed.folder / pointer).rmdir()
    assert_later_promotions_are_taken_up(managed)


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_pipe_in_the_place_of_a_pointer_is_refused_once_and_not_waited_for(managed, pointer):
    (managed.folder / pointer).unlink(missing_ok=True)
    os.mkfifo(managed.folder / pointer)
    (line,) = poll_as_lines(managed)
    assert "not a plain file" in line
    assert poll_as_lines(managed) == []
    (managed.folder / pointer).unlink()
    assert_later_promotions_are_taken_up(managed)


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_change_behind_many_spaces_in_a_pointer_is_seen(managed, pointer):
    version = managed.publish()
    content = {"CURRENT": b"%d", "SHADOW": b"%d 1.0"}[pointer] % version
    padding = b" " * (MAX_TEXT_BYTES - len(content))
    (managed.folder / pointer).write_bytes(padding + content)
    assert poll_as_lines(managed) == []
    if pointer == "CURRENT":
        assert managed.version == version
    else:
        assert managed.models.shadows["tiny"].spec == ShadowSpec(version, 1.0)


def test_a_repository_that_vanishes_and_comes_back_changes_nothing(managed, tmp_path):
    root = managed.repository.root
    root.rename(tmp_path / "away")
    assert len(poll_as_lines(managed)) == 1
    assert poll_as_lines(managed) == []
    assert [row.state for row in asyncio.run(managed.manager.index())] == ["READY", "UNAVAILABLE"]
    (tmp_path / "away").rename(root)
    assert poll_as_lines(managed) == []
    assert [row.state for row in asyncio.run(managed.manager.index())] == ["READY"]
    assert_later_promotions_are_taken_up(managed)


def test_a_model_that_vanishes_and_comes_back_changes_nothing(managed):
    shutil.rmtree(managed.folder)
    assert len(poll_as_lines(managed)) == 1
    assert managed.publish() == 1
    managed.repository.set_current("tiny", 1)
    assert poll_as_lines(managed) == []
    assert_later_promotions_are_taken_up(managed)


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
def test_no_error_ends_the_polling(managed, monkeypatch, error, where, name):
    def fail(*arguments):
        raise error

    version = managed.publish(promote=True)
    managed.repository.set_shadow("tiny", ShadowSpec(1, 1.0))
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr(where, name, fail)
        asyncio.run(managed.manager.poll_once())
    assert_later_promotions_are_taken_up(managed)
    assert version == managed.version - 1


def test_an_error_of_the_operating_system_is_told_to_the_admin(managed, monkeypatch):
    def fail(*arguments):
        raise PermissionError(13, "Permission denied", "/models/tiny/2")

    managed.publish()
    monkeypatch.setattr(loader, "read_manifest", fail)
    with capture_logs(), pytest.raises(ModelRefusedError, match="Permission denied: '/models/tiny/2'"):
        asyncio.run(managed.manager.promote("tiny", 2))


def test_an_error_after_the_load_does_not_end_the_polling(managed, monkeypatch):
    def fail(model):
        raise RuntimeError("\udcff")

    managed.publish(promote=True)
    with monkeypatch.context() as patched:
        patched.setattr(managed.models, "swap", fail)
        lines = poll_as_lines(managed)
    assert "promotions not looked for" in lines[-1]
    assert_later_promotions_are_taken_up(managed)


def test_a_thread_that_cannot_be_started_once_is_started_later(managed, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    managed.publish(promote=True)
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr("threading.Thread.start", refuse)
        asyncio.run(managed.manager.poll_once())
    assert managed.version == 1
    assert managed.poll() == LOADED


def test_an_index_of_a_repository_that_cannot_be_read_lists_what_is_known(managed, monkeypatch):
    def fail(repository):
        raise PermissionError(13, "Permission denied", "/models")

    monkeypatch.setattr(type(managed.repository), "names", fail)
    with capture_logs() as lines:
        rows = asyncio.run(managed.manager.index())
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
