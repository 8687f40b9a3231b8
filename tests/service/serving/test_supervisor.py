import asyncio
import threading
from functools import partial

import pytest
from structlog.testing import capture_logs

from rbm_service.errors import BackendError, UnhealthyError
from rbm_service.inference.batcher import FAILURES_UNTIL_PROBE
from rbm_service.serving.loader import find_promoted, load_model, rebuild_model
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.supervisor import EngineLostError, supervising
from rbm_service.serving.watchdog import Watchdog
from rbm_service.settings import Settings
from tests.model_inputs import feeds_of

LIMIT_SECONDS = 60


@pytest.fixture
def settings(models_dir):
    return Settings(models_dir=models_dir, device="cpu", max_batch_rows=4)


@pytest.fixture
def model(settings, metrics):
    return load_model(find_promoted(settings.models_dir, "tiny"), settings, metrics)


@pytest.fixture
def models(model, metrics):
    models = ModelRegistry(metrics)
    models.swap(model)
    yield models
    models.close()


@pytest.fixture
def rebuild(settings, metrics):
    return partial(rebuild_model, settings=settings, metrics=metrics)


@pytest.fixture
def fail(model, monkeypatch):
    """Batches of the model in service fail from now on, and so do its golden rows."""

    def fail(*args):
        raise RuntimeError("the context is lost")

    async def take_down():
        monkeypatch.setattr(model.batcher._forward, "_run", fail)
        monkeypatch.setattr(model.batcher, "_probe", fail)
        for _ in range(FAILURES_UNTIL_PROBE):
            with capture_logs(), pytest.raises(BackendError):
                await model.batcher.submit(feeds_of(model.bundle, [0]), 1)
        await until(lambda: model.batcher.is_down)

    return take_down


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def value_of(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def nobody_to_end():
    raise AssertionError("there was hope")


def test_an_engine_that_is_down_is_rebuilt_and_ready_again(models, rebuild, fail, model, metrics):
    opened = threading.Event()

    def rebuild_later(served):
        assert opened.wait(30)
        return rebuild(served)

    async def scenario():
        async with supervising(models, rebuild_later, LIMIT_SECONDS, nobody_to_end):
            await until(lambda: value_of(metrics, "rbm_engine_healthy", model_name="tiny") == 1)
            await fail()
            await until(lambda: value_of(metrics, "rbm_engine_healthy", model_name="tiny") == 0)
            with pytest.raises(UnhealthyError):
                models.check_ready()
            await until(lambda: value_of(metrics, "rbm_model_ready", model_name="tiny") == 0)
            opened.set()
            await until(lambda: models.current() is not model)
            models.check_ready()
            await until(lambda: value_of(metrics, "rbm_engine_healthy", model_name="tiny") == 1)
            return await models.current().batcher.submit(feeds_of(model.bundle, [0]), 1)

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (1, 3)
    assert models.current().version == model.version
    assert value_of(metrics, "rbm_model_ready", model_name="tiny") == 1
    assert value_of(metrics, "rbm_engine_restarts_total", model_name="tiny") == 1


def test_it_tries_again_when_a_rebuild_fails(models, rebuild, fail, model, monkeypatch):
    tries = []
    monkeypatch.setattr("rbm_service.serving.supervisor.PAUSES_SECONDS", (0, 0, 0))

    def rebuild_at_last(served):
        tries.append(served)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return rebuild(served)

    async def scenario():
        async with supervising(models, rebuild_at_last, LIMIT_SECONDS, nobody_to_end):
            await fail()
            await until(lambda: models.current() is not model)

    asyncio.run(scenario())
    assert tries == [model] * 3


def test_when_no_try_succeeds_there_is_no_hope(models, fail, monkeypatch):
    tries = []
    monkeypatch.setattr("rbm_service.serving.supervisor.PAUSES_SECONDS", (0, 0, 0))

    def rebuild_in_vain(served):
        tries.append(served)
        raise RuntimeError("the context is lost")

    async def scenario():
        ended = asyncio.Event()
        async with supervising(models, rebuild_in_vain, LIMIT_SECONDS, ended.set):
            await fail()
            await ended.wait()

    with pytest.raises(EngineLostError, match="tiny 1: 3 tries to rebuild it failed"):
        asyncio.run(scenario())
    assert len(tries) == 3


def test_a_rebuild_that_hangs_is_not_tried_again(models, fail, monkeypatch):
    tries, opened = [], threading.Event()
    monkeypatch.setattr("rbm_service.serving.supervisor.REBUILD_TIMEOUTS", 0.001)

    def rebuild_for_ever(served):
        tries.append(served)
        opened.wait(30)

    async def scenario():
        ended = asyncio.Event()
        async with supervising(models, rebuild_for_ever, LIMIT_SECONDS, ended.set):
            await fail()
            await ended.wait()

    with pytest.raises(EngineLostError, match=r"tiny 1: not rebuilt within 0\.06 s"):
        asyncio.run(scenario())
    opened.set()
    assert len(tries) == 1


def test_a_promotion_that_comes_meanwhile_stays(models, rebuild, fail, model):
    entered, opened, rebuilt = threading.Event(), threading.Event(), []

    def rebuild_slowly(served):
        entered.set()
        assert opened.wait(30)
        rebuilt.append(rebuild(served))
        return rebuilt[0]

    async def scenario():
        async with supervising(models, rebuild_slowly, LIMIT_SECONDS, nobody_to_end):
            await fail()
            await asyncio.to_thread(entered.wait, 30)
            promoted = await asyncio.to_thread(rebuild, model)
            models.swap(promoted)
            opened.set()
            await until(lambda: rebuilt and rebuilt[0].batcher._refusal)
            assert models.current() is promoted

    asyncio.run(scenario())


def test_a_service_that_drains_is_not_rebuilt(models, fail):
    def refuse(served):
        raise AssertionError("it drains")

    async def scenario():
        async with supervising(models, refuse, LIMIT_SECONDS, nobody_to_end):
            models.begin_drain()
            await fail()
            await asyncio.sleep(0.5)

    asyncio.run(scenario())


def test_supervision_leaves_neither_task_nor_thread(models, rebuild, fail, model):
    async def scenario():
        async with supervising(models, rebuild, LIMIT_SECONDS, nobody_to_end):
            await fail()
            await until(lambda: models.current() is not model)
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    names = {thread.name for thread in threading.enumerate()}
    assert "rbm-watchdog" not in names


def test_the_watchdog_lets_a_loop_live_that_turns(monkeypatch):
    ends = []
    monkeypatch.setattr("rbm_service.serving.watchdog.os._exit", ends.append)

    async def scenario():
        watchdog = Watchdog(2)
        watchdog.start()
        await asyncio.sleep(3.5)
        watchdog.close()

    asyncio.run(scenario())
    assert ends == []
