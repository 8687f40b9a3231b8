import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2
import pytest
import uvicorn

from rbm_service.app import create_app
from rbm_service.errors import DrainingError
from rbm_service.web.server import Server
from tests.batchers import batcher_behind
from tests.gates import Gate, until

LARGE = {"node_ids": [100] * 40}  # too many rows to run on the loop


class Stopping:
    """A server in this process with a batch in the engine and a request in the queue, told to stop."""

    def __init__(self, server, models, client, gate, serving):
        self.server, self.models, self.client = server, models, client
        self.gate, self.serving, self.requests = gate, serving, []

    def post(self):
        return asyncio.create_task(self.client.post("/classify", json=LARGE))

    async def end(self):
        """The answers to the requests that were there before the signal, and the way the server ended."""
        answers = await asyncio.gather(*self.requests)
        await self.serving
        return answers


def by_signal(server):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def stopping(settings, engine, free_port):
    @asynccontextmanager
    async def stop(drain_seconds, tell=by_signal):
        app = create_app(settings)
        models = app.app_state.models
        config = uvicorn.Config(app, port=free_port, lifespan="off", log_config=None)
        gate = Gate(engine.run)
        url = f"http://127.0.0.1:{free_port}"
        async with app.router.lifespan_context(app), httpx2.AsyncClient(base_url=url, timeout=30) as client:
            model = models.current()
            models.swap(replace(model, batcher=batcher_behind(model, gate)))
            server = Server(config, models, drain_seconds)
            serving = asyncio.create_task(server.serve())
            try:
                ours = Stopping(server, models, client, gate, serving)
                await until(lambda: server.started)
                ours.requests.append(ours.post())
                await asyncio.to_thread(gate.entered.wait, 30)
                ours.requests.append(ours.post())
                await until(lambda: models.num_arrivals == 2)
                tell(server)
                await until(lambda: models.draining)
                yield ours
            finally:
                gate.opened.set()
                await serving

    return stop


def test_while_it_drains_it_is_unready_and_answers_what_it_had_and_what_still_comes(stopping):
    async def scenario():
        async with stopping(drain_seconds=60) as server:
            ready = await server.client.get("/readyz")
            alive = await server.client.get("/livez")
            late = server.post()
            await until(lambda: server.models.num_arrivals == 3)
            server.gate.opened.set()
            return ready, alive, await late, await server.end()

    ready, alive, late, answers = asyncio.run(scenario())
    assert (ready.status_code, ready.json()["code"]) == (503, "draining")
    assert ready.headers["retry-after"] == "1"
    assert (alive.status_code, alive.headers["connection"]) == (200, "close")
    assert [answer.status_code for answer in (late, *answers)] == [200, 200, 200]
    assert late.headers["connection"] == "close"


def test_told_by_a_call_it_ends_as_by_a_signal_however_often_it_is_told(stopping):
    async def scenario():
        async with stopping(drain_seconds=60, tell=Server.drain_and_exit) as server:
            ready = await server.client.get("/readyz")
            server.server.drain_and_exit()
            os.kill(os.getpid(), signal.SIGTERM)  # the first one from outside: it drains already
            server.server.drain_and_exit()
            late = server.post()
            await until(lambda: server.models.num_arrivals == 3)
            of_a_second_signal = signal.getsignal(signal.SIGTERM)
            server.gate.opened.set()
            return ready, of_a_second_signal, [await late, *await server.end()]

    ready, of_a_second_signal, answers = asyncio.run(scenario())
    assert (ready.status_code, ready.json()["code"]) == (503, "draining")
    assert of_a_second_signal is signal.SIG_DFL
    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_a_call_alone_leaves_the_signals_as_they_were(stopping):
    async def scenario():
        async with stopping(drain_seconds=60, tell=Server.drain_and_exit) as server:
            assert signal.getsignal(signal.SIGTERM) == server.server.handle_exit
            server.gate.opened.set()
            return await server.end()

    assert [answer.status_code for answer in asyncio.run(scenario())] == [200, 200]


def test_past_the_grace_new_requests_are_refused_and_those_taken_are_answered(stopping):
    async def scenario():
        async with stopping(drain_seconds=4) as server:
            await until(lambda: not takes_requests(server.models))
            late = await server.post()
            server.gate.opened.set()
            return late, await server.end()

    late, answers = asyncio.run(scenario())
    assert (late.status_code, late.json()["code"]) == (503, "draining")
    assert late.headers["retry-after"] == "1"
    assert [answer.status_code for answer in answers] == [200, 200]


def test_what_cannot_be_computed_in_time_is_refused_with_an_answer(stopping):
    async def scenario():
        async with stopping(drain_seconds=0.5) as server:
            return await server.end()  # the gate stays shut

    for answer in asyncio.run(scenario()):
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")


def test_without_a_time_to_drain_it_ends_at_once(stopping):
    async def scenario():
        async with stopping(drain_seconds=0) as server:
            return await server.end()

    for answer in asyncio.run(scenario()):
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")


def takes_requests(models):
    try:
        models.current()
    except DrainingError:
        return False
    return True
