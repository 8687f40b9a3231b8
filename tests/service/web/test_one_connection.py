"""What one connection owes its callers: when it stays open, what it says and holds, and whom it serves."""

import asyncio

import pytest

from rbm_service.web.limits import BodyLimits
from rbm_service.web.request_context import CONNECTION_CLOSE
from tests.connections import InMemoryConnection

GET = b"GET /get HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n" + b"y" * 20
ANSWER = [(b"content-length", b"2")]


async def answer(scope, receive, send):
    """Answers in one piece without a look at the body, then waits for what comes."""
    assert receive.__self__.answer(200, ANSWER, b"ok")
    await receive()


async def read(scope, receive, send):
    """Answers by messages when all of the body is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": ANSWER})
    await send({"type": "http.response.body", "body": b"ok"})


def connected(app, *chunks, **others):
    """The connection on which these chunks came, when all is answered."""

    async def scenario():
        connection = InMemoryConnection(app, **others)
        for chunk in chunks:
            connection.receive(chunk)
            await asyncio.sleep(0)
        await connection.answered()
        return connection

    return asyncio.run(scenario())


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n"])
def test_a_caller_of_http_1_0_that_is_not_told_of_more_sees_the_end(headers):
    connection = connected(read, b"GET / HTTP/1.0\r\n" + headers + b"\r\n")
    assert connection.transport.closed
    assert b"connection: close\r\n" in b"".join(connection.transport.written)


@pytest.mark.parametrize("request_bytes", [POST, GET])
def test_nobody_is_told_to_go_on_behind_the_answer(request_bytes):
    connection = connected(answer, request_bytes.replace(b"Host: x", b"Expect: 100-continue"))
    assert connection.statuses == [b"200"]


@pytest.mark.parametrize("other", [b"Expect: x\r\n", b""])
def test_whoever_asks_whether_to_go_on_is_told_whatever_else_it_expects(other):
    head, body = POST[:-20], POST[-20:]
    head = head.replace(b"Host: x\r\n", b"Expect: 100-continue\r\n" + other)
    assert connected(read, head, body).statuses == [b"100", b"200"]


def test_a_request_without_a_body_needs_no_room_for_one():
    async def scenario():
        limits = BodyLimits(max_bytes=5, max_bytes_of_all=20)
        limits.num_held = 300  # a body that was alone and has grown
        connection = InMemoryConnection(read, body_limits=limits)
        connection.receive(GET)
        await connection.answered()
        return connection.statuses

    assert asyncio.run(scenario()) == [b"200"]


def test_what_is_never_begun_as_the_answer_before_it_closes_holds_nothing():
    limits = BodyLimits()
    connection = connected(read, GET + POST, default_headers=[CONNECTION_CLOSE], body_limits=limits)
    assert connection.transport.closed
    assert limits.num_held == 20
    connection.protocol.connection_lost(None)
    assert limits.num_held == 0


def test_a_tunnel_is_refused_and_no_request_before_it_served_twice():
    upgrade = GET[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert connected(read, upgrade + b"CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n").statuses == [b"200", b"400"]
