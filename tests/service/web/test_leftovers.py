"""A request that is over leaves nothing that only the garbage collector frees."""

import asyncio
import gc
import json
import weakref

import pytest

from rbm_service.app import create_app
from tests.connections import InMemoryConnection

NUM_REQUESTS = 5


def post(body):
    content = json.dumps(body).encode()
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


@pytest.fixture
def _no_garbage_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_garbage_collector")
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post({"node_ids": [100]}), 200),
        (post({"node_ids": [100] * 33}), 200),  # in the engine's thread
        (post({"node_ids": [100], "explain": True}), 200),
        (post({"features": [[0.5] * 12], "positions": [[0.5] * 4]}), 200),
        (post({"node_ids": [7]}), 404),
        (post({"nodes": [100]}), 422),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ],
)
def test_what_a_request_is_made_of_goes_with_it(settings, request_bytes, status):
    async def scenario():
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            connection, cycles = InMemoryConnection(app.request_middleware), []
            connection.protocol.data_received(request_bytes)  # what happens once has happened
            await connection.answered()
            gc.collect()
            for _ in range(NUM_REQUESTS):
                connection.protocol.data_received(request_bytes)
                cycles.append(weakref.ref(connection.protocol.exchange))
                await connection.answered()
            num_unreachable = gc.collect()
        return connection.transport.written, [cycle() is not None for cycle in cycles], num_unreachable

    written, left, num_unreachable = asyncio.run(scenario())
    assert num_unreachable < NUM_REQUESTS
    statuses = [data.split()[1] for data in written if data.startswith(b"HTTP/")]
    assert statuses == [b"%d" % status] * (NUM_REQUESTS + 1)
    assert left == [False] * (NUM_REQUESTS - 1) + [True]  # the connection knows its last request
