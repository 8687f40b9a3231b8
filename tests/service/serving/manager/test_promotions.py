"""What is promoted comes into service by itself, and nothing else does."""

import asyncio
import os
import threading
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ModelRepository, read_bundle, write_bundle
from rbm_service.app import create_app
from rbm_service.runtime.engine import Engine
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.settings import Settings
from tests.bundles import RECORDS, TINY, draft_of, with_other_answers
from tests.classifying import asking

TINY_MODEL = {"model_name": "tiny"}
LOADED = ["loading model", "model loaded"]
REFUSED = ["promotion refused; the current version stays"]
LOAD_REFUSED = ["loading model", *REFUSED]


def test_a_promoted_version_is_taken_up_once(managed, metrics):
    assert managed.poll() == []
    managed.publish(promote=True)
    assert managed.poll() == LOADED
    assert managed.version == 2
    assert managed.poll() == []
    assert managed.outcomes() == {"loaded": 2, "refused": 0}
    assert metrics.registry.get_sample_value("rbm_model_load_duration_seconds_count", TINY_MODEL) == 2


def test_a_published_version_that_nobody_promoted_is_left_alone(managed):
    managed.publish()
    assert managed.poll() == []
    assert managed.version == 1


def test_a_rollback_is_a_promotion(managed):
    managed.publish(promote=True)
    managed.poll()
    managed.repository.rollback("tiny")
    assert managed.poll() == LOADED
    assert managed.version == 1


def test_a_version_that_takes_records_comes_and_goes(managed, tmp_path):
    draft = draft_of(read_bundle(RECORDS))
    manifest = draft.manifest.model_copy(update={"name": "tiny"})
    managed.publish(write_bundle(tmp_path / "records", replace(draft, manifest=manifest)).path, promote=True)
    assert managed.poll() == LOADED
    assert managed.models.current().engine.records is not None
    managed.repository.rollback("tiny")
    assert managed.poll() == LOADED
    assert managed.models.current().engine.records is None


def test_promoting_what_is_in_service_changes_nothing(managed):
    model = managed.models.current()
    managed.repository.promote("tiny", 1)
    assert managed.poll() == []
    assert managed.models.current() is model


def test_another_bundle_under_the_number_in_service_is_taken_up(managed, bundle, tmp_path):
    other = with_other_answers(bundle, tmp_path / "other", seed=1)
    (managed.folder / "1").rename(tmp_path / "taken away")
    assert managed.publish(other.path) == 1
    assert managed.poll() == LOADED
    assert managed.models.current().bundle.manifest.bundle_id == other.manifest.bundle_id


def test_a_refused_version_leaves_the_old_model_serving_and_is_refused_once(managed):
    managed.publish_broken()
    with capture_logs() as lines:
        asyncio.run(managed.manager.poll_once())
    assert "golden.npz: expected" in lines[-1]["reason"]
    assert managed.poll() == []
    assert managed.version == 1
    assert managed.outcomes() == {"loaded": 1, "refused": 1}
    managed.publish(promote=True)
    assert managed.poll() == LOADED
    assert managed.version == 3


def test_a_refused_version_that_is_promoted_again_is_tried_again(managed):
    version = managed.publish_broken()
    os.utime(managed.folder / "CURRENT", ns=(0, 0))  # the clock of the file system is a coarse one
    assert managed.poll() == LOAD_REFUSED
    managed.repository.set_current("tiny", version)
    assert managed.poll() == LOAD_REFUSED
    assert managed.poll() == []


@pytest.mark.parametrize("name", ["manifest.json", "golden.npz", "positions.npy"])
def test_a_version_that_is_promoted_while_half_copied_is_tried_again_as_the_copy_goes_on(managed, name):
    version = managed.publish(promote=True)
    file = managed.folder / str(version) / name
    content = file.read_bytes()
    file.unlink()
    assert managed.poll()[-1:] == REFUSED
    assert managed.poll() == []
    file.write_bytes(content[:10])
    assert managed.poll()[-1:] == REFUSED
    assert managed.poll() == []
    file.write_bytes(content)
    assert managed.poll() == LOADED
    assert managed.version == version


def test_a_version_that_is_promoted_before_it_is_there_is_taken_up_when_it_is(managed, tmp_path):
    managed.repository.set_current("tiny", 2)
    assert managed.poll() == REFUSED
    assert managed.poll() == []
    managed.publish()
    assert managed.poll() == LOADED
    assert managed.version == 2


@pytest.mark.parametrize("content", [None, b"", b"seven", b"9", b"../1", b"1\0", b"\xff" * 100, b"1" * 5000])
def test_a_current_that_names_no_version_is_told_once_and_the_old_model_serves_on(managed, content):
    current = managed.folder / "CURRENT"
    current.unlink()
    if content is not None:
        current.write_bytes(content)
    assert managed.poll() == REFUSED
    assert managed.poll() == []
    assert managed.version == 1
    managed.publish(promote=True)
    assert managed.poll() == LOADED


def test_requests_are_answered_while_a_new_model_warms_up(managed, metrics, monkeypatch):
    entered, opened = threading.Event(), threading.Event()
    warm_up = Engine.warm_up

    def slow_warm_up(engine, max_rows):
        entered.set()
        assert opened.wait(30)
        warm_up(engine, max_rows)

    async def scenario():
        app = create_app(Settings(models_dir=managed.repository.root, device="cpu", reload_poll_seconds=0.01))
        async with asking(app) as client:
            monkeypatch.setattr(Engine, "warm_up", slow_warm_up)
            managed.publish(promote=True)
            await asyncio.to_thread(entered.wait, 30)
            during = await client.post("/classify", json={"node_ids": [100]})
            opened.set()
            while app.app_state.models.current().version == 1:
                await asyncio.sleep(0)
            return during, await client.post("/classify", json={"node_ids": [100]})

    during, after = asyncio.run(scenario())
    assert [answer.json()["model"]["version"] for answer in (during, after)] == [1, 2]


def test_polling_can_be_switched_off_and_a_call_is_heeded_all_the_same(managed):
    async def scenario():
        app = create_app(Settings(models_dir=managed.repository.root, device="cpu", reload_poll_seconds=0))
        async with app.router.lifespan_context(app):
            parts = app.app_state
            await asyncio.sleep(0)
            await parts.manager.poll_once()  # waits for the first poll
            managed.publish(promote=True)
            await asyncio.sleep(0.1)
            before = parts.models.current().version
            parts.manager.wake()
            while parts.models.current().version == before:
                await asyncio.sleep(0.01)
            return before

    assert asyncio.run(scenario()) == 1


def test_each_of_several_models_is_polled_by_itself(tmp_path, metrics):
    repository = ModelRepository(tmp_path)
    for name in ("one", "other"):
        repository.promote(name, repository.publish(TINY, name))
    settings = Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4, model="other, one")
    models = ModelRegistry(metrics)
    manager = ModelManager(settings, metrics, models)
    manager.start()
    assert [model.name for model in models.in_service] == ["other", "one"]
    (tmp_path / "other" / "CURRENT").write_text("7")
    repository.promote("one", repository.publish(TINY, "one"))
    asyncio.run(manager.poll_once())
    assert [(model.name, model.version) for model in models.in_service] == [("other", 1), ("one", 2)]
    value = metrics.registry.get_sample_value
    refused = [value("rbm_model_loads_total", {"model_name": n, "outcome": "refused"}) for n in models.names]
    assert refused == [1, 0]
    manager.close()
    models.close()
