import asyncio
from types import SimpleNamespace

import pytest
from starlette.requests import ClientDisconnect

from rbm_service.api.waiting import PATIENCE_SECONDS, Lookouts


class Connection:
    """What is left of a request once its body was read: the client is there, until it is not."""

    def __init__(self):
        self.num_looks = 0
        self.is_gone = asyncio.Event()

    async def receive(self):
        self.num_looks += 1
        await self.is_gone.wait()
        return {"type": "http.disconnect"}


def test_an_answer_that_is_there_at_once_costs_no_task():
    async def scenario():
        connection = Connection()
        answer = await Lookouts().answer_or_gone(connection, asyncio.sleep(0, "an answer"))
        await asyncio.sleep(3 * PATIENCE_SECONDS)
        return answer, connection.num_looks, len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == ("an answer", 0, 1)


def test_an_answer_that_takes_longer_is_waited_for_and_leaves_no_task():
    async def scenario():
        connection = Connection()
        answer = await Lookouts().answer_or_gone(connection, asyncio.sleep(4 * PATIENCE_SECONDS, "an answer"))
        await asyncio.sleep(0)
        return answer, connection.num_looks, len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == ("an answer", 1, 1)


def test_nobody_waits_for_a_client_that_has_gone():
    async def scenario():
        connection, answer = Connection(), asyncio.get_running_loop().create_future()
        connection.is_gone.set()
        with pytest.raises(ClientDisconnect):
            await Lookouts().answer_or_gone(connection, answer)
        assert asyncio.current_task().cancelling() == 0
        return answer.cancelled()

    assert asyncio.run(scenario())


def test_messages_that_say_nothing_are_passed_over():
    messages = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def scenario():
        with pytest.raises(ClientDisconnect):
            await Lookouts().answer_or_gone(
                SimpleNamespace(receive=receive), asyncio.get_running_loop().create_future()
            )

    asyncio.run(scenario())
    assert messages == []


def test_being_cancelled_from_elsewhere_is_not_taken_for_a_client_that_has_gone():
    async def scenario():
        waiting = asyncio.create_task(
            Lookouts().answer_or_gone(Connection(), asyncio.get_running_loop().create_future())
        )
        await asyncio.sleep(3 * PATIENCE_SECONDS)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())


def test_among_many_only_those_who_wait_for_long_are_watched():
    async def scenario():
        lookouts, connections = Lookouts(), [Connection() for _ in range(20)]
        answers = [
            lookouts.answer_or_gone(connection, asyncio.sleep(seconds, seconds))
            for connection, seconds in zip(connections, 10 * [0.0, 3 * PATIENCE_SECONDS], strict=True)
        ]
        assert await asyncio.gather(*answers) == 10 * [0.0, 3 * PATIENCE_SECONDS]
        await asyncio.sleep(3 * PATIENCE_SECONDS)
        return [connection.num_looks for connection in connections], lookouts._timer

    assert asyncio.run(scenario()) == (10 * [0, 1], None)
