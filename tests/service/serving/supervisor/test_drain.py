"""An engine that is down while the service drains."""

import asyncio

import pytest
from structlog.testing import capture_logs

from rbm_service.serving.supervisor import EngineLostError
from tests.gates import Gate, until
from tests.service.serving.supervisor.rebuilds import in_vain


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
