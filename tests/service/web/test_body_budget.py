"""Bodies in memory are bounded in sum, and what is over holds nothing."""

import asyncio
import gzip
import json

import pytest

from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.connections import InMemoryConnection

LIMIT = 1000
FULL = b'{"node_ids": [100]' + b" " * (LIMIT - 19) + b"}"
HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%b\r\n"
INFER = b"/v2/models/tiny/infer"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def head(num_bytes, path=b"/classify", headers=b""):
    return HEAD % (path, headers + b"Content-Length: %d\r\n" % num_bytes)


def begun(num_bytes):
    """A body of which only the last byte is missing."""
    return head(num_bytes + 1) + FULL[:num_bytes]


class Service:
    """An application whose connections share one budget."""

    def __init__(self, app):
        self.app, self.limits = app, app.body_limits

    def connect(self, *chunks):
        connection = InMemoryConnection(self.app.request_middleware, body_limits=self.limits)
        for chunk in chunks:
            connection.receive(chunk)
        return connection

    async def asked(self, *chunks):
        """The answers over a connection of its own."""
        connection = self.connect(*chunks)
        await connection.answered()
        return connection

    async def until_held(self, num_bytes):
        while self.limits.num_held != num_bytes:
            await asyncio.sleep(0.001)

    @property
    def gauge(self):
        return self.app.app_state.metrics.registry.get_sample_value("rbm_http_buffered_body_bytes")


@pytest.fixture
def served(models_dir):
    def run(scenario, **others):
        limits = {"max_body_bytes": LIMIT, "max_buffered_bytes": 2 * LIMIT, "max_batch_rows": 4}
        settings = Settings(models_dir=models_dir, device="cpu", **{**limits, **others})

        async def within():
            app = create_app(settings)
            async with app.router.lifespan_context(app):
                service = Service(app)
                result = await scenario(service)
                assert service.limits.num_held == 0
                return result

        return asyncio.run(within())

    return run


def test_a_body_counts_as_it_arrives_and_one_that_does_not_fit_beside_is_refused_before_it_is_read(served):
    async def scenario(service):
        holding = [service.connect(begun(LIMIT - 1)) for _ in range(2)]
        assert (service.limits.num_held, service.gauge) == (2 * LIMIT - 2, 2 * LIMIT - 2)
        refused = await service.asked(head(LIMIT))
        small = await service.asked(head(20))
        assert service.limits.num_held == 2 * LIMIT - 2
        for connection in holding:
            connection.receive(FULL[-1:])
            await connection.answered()
        again = await service.asked(head(LIMIT) + FULL)
        return refused, small, *holding, again

    refused, *others = served(scenario)
    assert b"".join(refused.transport.written).lower().count(b"retry-after: 1\r\n") == 1
    assert b'"code":"overloaded"' in refused.transport.written[-1]
    assert [connection.statuses for connection in (refused, *others)] == [
        *([b"429"], [b"429"]),
        *([b"200"], [b"200"], [b"200"]),
    ]


def test_what_is_only_announced_holds_nothing_and_costs_nobody_anything(served):
    async def scenario(service):
        silent = [service.connect(head(LIMIT)) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert (service.limits.num_held, service.gauge) == (0, 0)
        asked = await service.asked(head(LIMIT) + FULL)
        for connection in silent:
            connection.protocol.connection_lost(None)
        return asked.statuses

    assert served(scenario) == [b"200"]


def test_of_bodies_that_were_let_in_the_one_that_goes_beyond_the_limit_is_refused(served):
    async def scenario(service):
        connections = [service.connect(head(LIMIT)) for _ in range(3)]
        for connection in connections:
            connection.receive(FULL[:-1])
        await connections[-1].answered()
        assert service.limits.num_held == 2 * LIMIT - 2
        for connection in connections[:2]:
            connection.receive(FULL[-1:])
            await connection.answered()
        return [connection.statuses for connection in connections]

    assert served(scenario) == [[b"200"], [b"200"], [b"429"]]


@pytest.mark.parametrize("path", [b"/classify", INFER])
def test_a_body_without_a_length_counts_as_it_arrives_and_is_refused_when_it_is_too_much(served, path):
    async def scenario(service):
        first = service.connect(begun(LIMIT - 1))
        second = service.connect(HEAD % (path, CHUNKED) + b"1f4\r\n" + b" " * 500 + b"\r\n")
        await asyncio.sleep(0.01)
        assert service.limits.num_held == LIMIT + 499
        third = service.connect(HEAD % (path, CHUNKED) + b"258\r\n" + b" " * 600 + b"\r\n")
        await third.answered()
        assert service.limits.num_held == LIMIT + 499
        third.receive(b"258\r\n" + b" " * 600 + b"\r\n0\r\n\r\n")  # what still comes is read by nobody
        assert service.limits.num_held == LIMIT + 499
        first.protocol.connection_lost(None)
        second.protocol.connection_lost(None)
        await service.until_held(0)
        return third.statuses

    assert served(scenario) == [b"429"]


def test_a_caller_that_goes_holds_nothing(served):
    async def scenario(service):
        connection = service.connect(begun(500))
        await asyncio.sleep(0.01)
        assert service.limits.num_held == 500
        connection.protocol.connection_lost(None)
        await service.until_held(0)

    served(scenario)


def test_a_request_behind_another_counts_before_it_begins_and_is_given_back_when_it_never_does(served):
    async def scenario(service):
        connection = service.connect(head(LIMIT) + FULL + begun(10))
        assert service.limits.num_held == LIMIT + 10
        connection.protocol.connection_lost(None)
        await service.until_held(0)
        both = await service.asked((head(LIMIT) + FULL) * 2)
        late = service.connect((head(LIMIT) + FULL) * 3)
        await late.answered()
        return both.statuses, late.statuses

    assert served(scenario) == ([b"200"] * 2, [b"200", b"200", b"429"])


def test_a_body_that_comes_too_late_holds_nothing(served):
    async def scenario(service):
        late = service.connect(head(LIMIT) + FULL[:500])
        await late.answered()
        assert service.limits.num_held == 0
        return late.statuses

    assert served(scenario, body_timeout_seconds=0.05) == [b"408"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(LIMIT + 1) + FULL + b" ", b"413"),
        (head(10**12), b"413"),
        (head(LIMIT, b"/nothing") + FULL, b"404"),
        (head(LIMIT, b"/v2/nothing") + FULL[:10], b"404"),
        (b"GET /livez HTTP/1.1\r\nContent-Length: 900\r\n\r\n" + FULL[:10], b"200"),
        (head(5) + b"\xff" * 5, b"400"),
        (HEAD % (b"/classify", CHUNKED) + b"zz\r\n", b"400"),
    ],
)
def test_whatever_is_answered_holds_nothing(served, sent, status):
    async def scenario(service):
        connection = service.connect(sent)
        if connection.transport.closed:
            connection.protocol.connection_lost(None)
        await connection.answered()
        return connection.statuses

    assert served(scenario) == [status]


def test_probes_are_answered_while_there_is_no_room(served):
    async def scenario(service):
        holding = [service.connect(begun(LIMIT - 1)) for _ in range(2)]
        probe = await service.asked(b"GET /readyz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
        for connection in holding:
            connection.protocol.connection_lost(None)
        await service.until_held(0)
        return probe.statuses

    assert served(scenario) == [b"200"]


@pytest.mark.parametrize(("num_held", "status"), [(LIMIT, b"200"), (2 * LIMIT - 200, b"429")])
def test_what_a_compressed_body_expands_to_counts_as_well(served, num_held, status):
    content = json.dumps({"inputs": [{"name": "node_ids", "shape": [1], "datatype": "INT64", "data": [100]}]})
    sent = gzip.compress(content.encode().ljust(900))
    assert len(sent) < 150

    async def scenario(service):
        holding = [service.connect(begun(size)) for size in (LIMIT - 1, num_held - LIMIT)]
        asked = await service.asked(head(len(sent), INFER, b"Content-Encoding: gzip\r\n") + sent)
        for connection in holding:
            connection.protocol.connection_lost(None)
        await service.until_held(0)
        return asked.statuses

    assert served(scenario) == [status]


def test_a_compressed_body_that_is_alone_may_grow(served):
    content = json.dumps({"inputs": [{"name": "node_ids", "shape": [1], "datatype": "INT64", "data": [100]}]})
    sent = gzip.compress(content.encode().ljust(LIMIT))

    async def scenario(service):
        return (await service.asked(head(len(sent), INFER, b"Content-Encoding: gzip\r\n") + sent)).statuses

    assert served(scenario, max_buffered_bytes=LIMIT) == [b"200"]
