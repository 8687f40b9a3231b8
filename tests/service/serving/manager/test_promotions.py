"""What is promoted comes into service by itself, and nothing else does."""

import asyncio
import os
import threading

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ModelRepository
from rbm_service.app import create_app
from rbm_service.runtime.engine import Engine
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.settings import Settings
from tests.bundles import TINY, with_other_answers
from tests.classifying import asking

TINY_MODEL = {"model_name": "tiny"}
LOADED = ["loading model", "model loaded"]
REFUSED = ["promotion refused; the current version stays"]
LOAD_REFUSED = ["loading model", *REFUSED]


def test_a_promoted_version_is_taken_up_once(following, metrics):
    assert following.look() == []
    following.publish(promote=True)
    assert following.look() == LOADED
    assert following.version == 2
    assert following.look() == []
    assert following.outcomes() == {"loaded": 2, "refused": 0}
    assert metrics.registry.get_sample_value("rbm_model_load_duration_seconds_count", TINY_MODEL) == 2


def test_a_published_version_that_nobody_promoted_is_left_alone(following):
    following.publish()
    assert following.look() == []
    assert following.version == 1


def test_a_rollback_is_a_promotion(following):
    following.publish(promote=True)
    following.look()
    following.repository.rollback("tiny")
    assert following.look() == LOADED
    assert following.version == 1


def test_promoting_what_is_in_service_changes_nothing(following):
    model = following.models.current()
    following.repository.promote("tiny", 1)
    assert following.look() == []
    assert following.models.current() is model


def test_another_bundle_under_the_number_in_service_is_taken_up(following, bundle, tmp_path):
    other = with_other_answers(bundle, tmp_path / "other", seed=1)
    (following.folder / "1").rename(tmp_path / "taken away")
    assert following.publish(other.path) == 1
    assert following.look() == LOADED
    assert following.models.current().bundle.manifest.bundle_id == other.manifest.bundle_id


def test_a_refused_version_leaves_the_old_model_serving_and_is_refused_once(following):
    following.publish_broken()
    with capture_logs() as lines:
        asyncio.run(following.manager.poll_once())
    assert "golden.npz: expected" in lines[-1]["reason"]
    assert following.look() == []
    assert following.version == 1
    assert following.outcomes() == {"loaded": 1, "refused": 1}
    following.publish(promote=True)
    assert following.look() == LOADED
    assert following.version == 3


def test_a_refused_version_that_is_promoted_again_is_tried_again(following):
    version = following.publish_broken()
    os.utime(following.folder / "CURRENT", ns=(0, 0))  # the clock of the file system is a coarse one
    assert following.look() == LOAD_REFUSED
    following.repository.set_current("tiny", version)
    assert following.look() == LOAD_REFUSED
    assert following.look() == []


@pytest.mark.parametrize("name", ["manifest.json", "golden.npz", "positions.npy"])
def test_a_version_that_is_promoted_while_half_copied_is_tried_again_as_the_copy_goes_on(following, name):
    version = following.publish(promote=True)
    file = following.folder / str(version) / name
    content = file.read_bytes()
    file.unlink()
    assert following.look()[-1:] == REFUSED
    assert following.look() == []
    file.write_bytes(content[:10])
    assert following.look()[-1:] == REFUSED
    assert following.look() == []
    file.write_bytes(content)
    assert following.look() == LOADED
    assert following.version == version


def test_a_version_that_is_promoted_before_it_is_there_is_taken_up_when_it_is(following, tmp_path):
    following.repository.set_current("tiny", 2)
    assert following.look() == REFUSED
    assert following.look() == []
    following.publish()
    assert following.look() == LOADED
    assert following.version == 2


@pytest.mark.parametrize("content", [None, b"", b"seven", b"9", b"../1", b"1\0", b"\xff" * 100, b"1" * 5000])
def test_a_current_that_names_no_version_is_told_once_and_the_old_model_serves_on(following, content):
    current = following.folder / "CURRENT"
    current.unlink()
    if content is not None:
        current.write_bytes(content)
    assert following.look() == REFUSED
    assert following.look() == []
    assert following.version == 1
    following.publish(promote=True)
    assert following.look() == LOADED


def test_requests_are_answered_while_a_new_model_warms_up(following, metrics, monkeypatch):
    entered, opened = threading.Event(), threading.Event()
    warm_up = Engine.warm_up

    def slow_warm_up(engine, max_rows):
        entered.set()
        assert opened.wait(30)
        warm_up(engine, max_rows)

    async def scenario():
        app = create_app(
            Settings(models_dir=following.repository.root, device="cpu", reload_poll_seconds=0.01)
        )
        async with asking(app) as client:
            monkeypatch.setattr(Engine, "warm_up", slow_warm_up)
            following.publish(promote=True)
            await asyncio.to_thread(entered.wait, 30)
            during = await client.post("/classify", json={"node_ids": [100]})
            opened.set()
            while app.app_state.models.current().version == 1:
                await asyncio.sleep(0)
            return during, await client.post("/classify", json={"node_ids": [100]})

    during, after = asyncio.run(scenario())
    assert [answer.json()["model"]["version"] for answer in (during, after)] == [1, 2]


def test_polling_can_be_switched_off_and_a_call_is_heeded_all_the_same(following):
    async def scenario():
        app = create_app(Settings(models_dir=following.repository.root, device="cpu", reload_poll_seconds=0))
        async with app.router.lifespan_context(app):
            parts = app.app_state
            await asyncio.sleep(0)
            await parts.manager.poll_once()  # waits for the look at the beginning
            following.publish(promote=True)
            await asyncio.sleep(0.1)
            before = parts.models.current().version
            parts.manager.wake()
            while parts.models.current().version == before:
                await asyncio.sleep(0.01)
            return before

    assert asyncio.run(scenario()) == 1


def test_each_of_several_models_is_followed_by_itself(tmp_path, metrics):
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
