"""An engine that is down is rebuilt, and what a promotion has to do with it."""

import asyncio
import threading

import pytest

from rbm_service.errors import UnhealthyError
from tests.gates import Gate, until
from tests.model_inputs import brought, model_inputs_of
from tests.service.serving.supervisor.rebuilds import in_vain


def value_of(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, {"model_name": "tiny", **labels})


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
            return await models.current().batcher.submit(brought(model_inputs_of(model.bundle, [0])))

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


def test_supervision_leaves_neither_task_nor_thread(models, rebuild, fail, model, supervised):
    async def scenario():
        async with supervised():
            await fail()
            await until(lambda: models.current() is not model)
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    names = {thread.name for thread in threading.enumerate()}
    assert "rbm-watchdog" not in names
