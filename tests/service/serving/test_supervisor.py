import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ModelRepository
from rbm_service.errors import BackendError, UnhealthyError
from rbm_service.inference.batcher import FAILURES_UNTIL_PROBE
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.supervisor import EngineLostError, supervising
from rbm_service.settings import Settings
from tests.bundles import TINY
from tests.model_inputs import brought, feeds_of

LIMIT_SECONDS = 60


@pytest.fixture
def models(metrics):
    models = ModelRegistry(metrics)
    yield models
    models.close()


@pytest.fixture
def manager(models, tmp_path, metrics):
    repository = ModelRepository(tmp_path)
    repository.promote("tiny", repository.publish(TINY))
    manager = ModelManager(Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4), metrics, models)
    manager.start()
    yield manager
    manager.close()


@pytest.fixture
def model(manager, models):
    return models.current()


@pytest.fixture
def supervised(manager, models):
    """What happens in the block is supervised; `on_lost` is what is called when there is no hope."""

    def supervised(on_lost=nobody_to_call, limit_seconds=LIMIT_SECONDS):
        return supervising(models, manager.rebuild, limit_seconds, on_lost)

    return supervised


@pytest.fixture
def rebuild(manager, model, monkeypatch):
    """Every try to rebuild calls what is given, with the model and what would rebuild it."""
    load = manager._loader.load

    def really(served):
        return load(served.name, served.version)

    def rebuild(function):
        def load_anew(name, version):
            is_rebuild = (name, version) == (model.name, model.version)
            return function(model, really) if is_rebuild else load(name, version)

        monkeypatch.setattr(manager._loader, "load", load_anew)
        monkeypatch.setattr("rbm_service.serving.supervisor.PAUSES_SECONDS", (0, 0, 0))

    return rebuild


@pytest.fixture
def fail(model, monkeypatch):
    """Batches of the model in service fail from now on, and so do its golden rows."""

    def fail(*args):
        raise RuntimeError("the context is lost")

    async def take_down():
        monkeypatch.setattr(model.batcher, "_compute", fail)
        monkeypatch.setattr(model.batcher, "_probe", fail)
        for _ in range(FAILURES_UNTIL_PROBE):
            with capture_logs(), pytest.raises(BackendError):
                await model.batcher.submit(brought(feeds_of(model.bundle, [0])))
        await until(lambda: model.batcher.is_down)

    return take_down


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def value_of(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, {"model_name": "tiny", **labels})


def nobody_to_call():
    raise AssertionError("there was hope")


def in_vain(served, really):
    raise RuntimeError("the context is lost")


class Gate:
    """Tries to rebuild wait here until it is opened."""

    def __init__(self, function):
        self.function, self.entered, self.opened = function, threading.Event(), threading.Event()

    def __call__(self, served, really):
        self.entered.set()
        assert self.opened.wait(30)
        return self.function(served, really)


def test_an_engine_that_is_down_is_rebuilt_and_ready_again(models, rebuild, fail, model, metrics, supervised):
    gate = Gate(lambda served, really: really(served))
    rebuild(gate)

    async def scenario():
        async with supervised():
            assert value_of(metrics, "rbm_engine_healthy") == 1
            await fail()
            with pytest.raises(UnhealthyError):
                models.check_ready()
            assert value_of(metrics, "rbm_engine_healthy") == value_of(metrics, "rbm_model_ready") == 0
            gate.opened.set()
            await until(lambda: models.current() is not model)
            models.check_ready()
            return await models.current().batcher.submit(brought(feeds_of(model.bundle, [0])))

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (1, 3)
    assert models.current().version == model.version
    assert value_of(metrics, "rbm_engine_healthy") == value_of(metrics, "rbm_model_ready") == 1
    assert value_of(metrics, "rbm_engine_restarts_total") == 1


def test_it_tries_again_when_a_rebuild_fails(models, rebuild, fail, model, supervised):
    tries = []

    def at_last(served, really):
        tries.append(served)
        return really(served) if len(tries) == 3 else in_vain(served, really)

    rebuild(at_last)

    async def scenario():
        async with supervised():
            await fail()
            await until(lambda: models.current() is not model)

    asyncio.run(scenario())
    assert tries == [model] * 3


async def until_lost(fail, supervised, **limits):
    lost = asyncio.Event()
    async with supervised(lost.set, **limits):
        await fail()
        await lost.wait()


def test_when_no_try_succeeds_the_engine_is_lost(rebuild, fail, supervised):
    rebuild(in_vain)
    with (
        capture_logs() as lines,
        pytest.raises(EngineLostError, match="tiny 1: 3 tries to rebuild it failed"),
    ):
        asyncio.run(until_lost(fail, supervised))
    assert [line["event"] for line in lines].count("rebuild failed") == 3
    assert lines[-1]["event"] == "engine lost"


def test_a_reason_that_is_no_utf_8_is_told_all_the_same(rebuild, fail, supervised):
    def refuse(served, really):
        raise RuntimeError("caf\udce9.npy")

    rebuild(refuse)
    with capture_logs() as lines, pytest.raises(EngineLostError):
        asyncio.run(until_lost(fail, supervised))
    assert {line["reason"] for line in lines if line["event"] == "rebuild failed"} == {r"caf\udce9.npy"}


def test_a_rebuild_that_hangs_is_not_tried_again(rebuild, fail, monkeypatch, supervised):
    gate = Gate(in_vain)
    rebuild(gate)
    monkeypatch.setattr("rbm_service.serving.supervisor.REBUILD_TIMEOUTS", 0.001)
    with pytest.raises(EngineLostError, match=r"tiny 1: not rebuilt within 0\.06 s"):
        asyncio.run(until_lost(fail, supervised))
    gate.opened.set()


def test_a_load_that_hangs_does_not_keep_a_failed_engine_from_ending_the_process(
    manager, fail, monkeypatch, supervised
):
    opened = threading.Event()
    monkeypatch.setattr(manager._loader, "promoted_version", lambda *_: opened.wait(30))
    monkeypatch.setattr("rbm_service.serving.supervisor.REBUILD_TIMEOUTS", 0.001)

    async def scenario():
        hanging = asyncio.create_task(manager.reload("tiny"))
        await asyncio.sleep(0.01)
        try:
            await until_lost(fail, supervised)
        finally:
            hanging.cancel()

    with pytest.raises(EngineLostError, match="not rebuilt within"):
        asyncio.run(scenario())
    opened.set()


def test_a_promotion_waits_for_a_rebuild_and_stays(models, manager, rebuild, fail, model, supervised):
    gate = Gate(lambda served, really: really(served))
    rebuild(gate)
    manager._loader.repository.publish(model.bundle.path)

    async def scenario():
        async with supervised():
            await fail()
            await asyncio.to_thread(gate.entered.wait, 30)
            promoting = asyncio.create_task(manager.promote("tiny", 2))
            await asyncio.sleep(0.05)
            assert manager._loader.loading is None
            gate.opened.set()
            return await promoting

    change = asyncio.run(scenario())
    assert (change.former_version, change.version, models.current().version) == (1, 2, 2)


def test_a_model_that_a_promotion_has_replaced_is_not_rebuilt(models, manager, model, fail):
    manager._loader.repository.publish(model.bundle.path)

    async def scenario():
        await fail()
        await manager.promote("tiny", 2)
        assert await manager.rebuild(model)

    asyncio.run(scenario())
    assert models.current().version == 2


def test_an_engine_that_goes_down_while_the_service_drains_is_not_rebuilt_and_told_in_the_end(
    models, rebuild, fail, supervised
):
    rebuild(lambda served, really: pytest.fail("it drains"))

    async def scenario():
        async with supervised():
            models.begin_drain()
            await fail()
            await asyncio.sleep(0.5)
            models.close()
            models.abandon()

    with pytest.raises(EngineLostError, match="tiny 1: down when the service ended"):
        asyncio.run(scenario())


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_rebuild_that_succeeds_while_the_service_drains_is_a_success(
    models, rebuild, fail, model, supervised, is_closed
):
    gate, ends = Gate(lambda served, really: really(served)), []
    rebuild(gate)

    async def scenario():
        async with supervised():
            await fail()
            await asyncio.to_thread(gate.entered.wait, 30)
            models.begin_drain()
            if is_closed:
                models.close()
            with capture_logs() as lines:
                gate.opened.set()
                await until(lambda: any(line["event"] == "model rebuilt" for line in lines))
            ends.append(models.find("tiny"))

    asyncio.run(scenario())
    (found,) = ends
    assert found is None if is_closed else found is not model


def test_a_rebuild_that_fails_while_the_service_drains_is_told_in_the_end(models, rebuild, fail, supervised):
    gate, lost = Gate(in_vain), []
    rebuild(gate)

    async def scenario():
        async with supervised(lambda: lost.append("lost")):
            await fail()
            await asyncio.to_thread(gate.entered.wait, 30)
            models.begin_drain()
            gate.opened.set()
            await asyncio.sleep(0.5)
            models.close()

    with pytest.raises(EngineLostError, match="tiny 1: "):
        asyncio.run(scenario())


def test_supervision_leaves_neither_task_nor_thread(models, rebuild, fail, model, supervised):
    async def scenario():
        async with supervised():
            await fail()
            await until(lambda: models.current() is not model)
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    names = {thread.name for thread in threading.enumerate()}
    assert "rbm-watchdog" not in names
