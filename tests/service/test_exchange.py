import asyncio

import pytest

from rbm_service.errors import RequestTimeoutError
from rbm_service.exchange import BodyLimits, Exchange

LAST = {"type": "http.request", "body": b"abc", "more_body": False}


def exchange_of(receive, timeout_seconds=60.0):
    return Exchange({}, receive, None, BodyLimits(100, timeout_seconds))


def test_a_body_that_is_there_needs_no_timer():
    async def receive():
        return LAST

    async def scenario():
        loop = asyncio.get_running_loop()
        exchange = exchange_of(receive)
        loop.call_at = loop.call_later = None  # whoever sets a timer fails
        return await exchange.receive()

    assert asyncio.run(scenario()) == LAST


def test_a_body_that_comes_bit_by_bit_is_waited_for():
    async def receive():
        for _ in range(3):
            await asyncio.sleep(0.01)
        return LAST

    assert asyncio.run(scenario_of(receive)) == LAST


async def scenario_of(receive, timeout_seconds=60.0):
    return await exchange_of(receive, timeout_seconds).receive()


def test_whoever_waits_for_a_body_learns_that_it_is_late():
    noticed = []

    async def receive():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            noticed.append("cancelled")
            raise

    with pytest.raises(RequestTimeoutError):
        asyncio.run(scenario_of(receive, timeout_seconds=0.02))
    assert noticed == ["cancelled"]


def test_what_clears_up_after_being_cancelled_may_wait_for_that():
    noticed = []

    async def receive():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            noticed.append("cleared up")

    with pytest.raises(RequestTimeoutError):
        asyncio.run(scenario_of(receive, timeout_seconds=0.02))
    assert noticed == ["cleared up"]


@pytest.mark.parametrize("pause", [None, 0.01])
def test_what_goes_wrong_comes_through(pause):
    async def receive():
        if pause is not None:
            await asyncio.sleep(pause)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(scenario_of(receive))
