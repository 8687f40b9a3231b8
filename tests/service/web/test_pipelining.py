"""Requests that arrive together, the bytes of their headers, and what is no header: trailers, upgrades."""

import asyncio

import pytest

from rbm_service.web.limits import MAX_HEADER_BYTES
from tests.connections import InMemoryConnection

POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
GET = b"GET /get HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = b"x" * 100_000
REFUSED = b"The headers are too long."


class Echo:
    """Answers with the path and the number of bytes of the body; remembers the headers."""

    def __init__(self):
        self.headers, self.seen, self.opened = [], [], asyncio.Event()
        self.opened.set()

    async def __call__(self, scope, receive, send):
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append("gone")
                return
            length, more = length + len(message["body"]), message["more_body"]
        await self.opened.wait()
        self.headers.append(scope["headers"])
        self.seen.append((scope["path"], length))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def exchanged(*chunks, app=None):
    """What an application saw, and the connection over which these chunks came."""

    async def scenario():
        echo = app or Echo()
        connection = InMemoryConnection(echo)
        for chunk in chunks:
            connection.receive(chunk)
            await asyncio.sleep(0)
        await connection.answered()
        return echo, connection

    return asyncio.run(scenario())


def padded(num_bytes, start=b"GET /get HTTP/1.1\r\n", end=b"\r\n\r\n"):
    """A request with headers of so many bytes."""
    line = b"X-Pad: "
    return start + line + b"x" * (num_bytes - len(start) - len(line) - len(end)) + end


def test_a_long_body_and_the_beginning_of_the_next_request_may_come_together():
    echo, connection = exchanged(POST % (b"a", len(LONG)) + b"\r\n" + LONG + GET[:10], GET[10:])
    assert echo.seen == [("/a", 100_000), ("/get", 0)]
    assert connection.statuses == [b"200", b"200"]


def test_of_many_requests_in_one_write_each_may_have_headers():
    request = padded(1000)
    _, connection = exchanged(request * 200 + request[:500], request[500:])
    assert connection.statuses == [b"200"] * 201


@pytest.mark.parametrize("before", [b"", GET, POST % (b"a", 5) + b"\r\nabcde"])
@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
@pytest.mark.parametrize(("beyond", "status"), [(0, b"200"), (1, b"400")])
def test_headers_may_be_as_long_as_the_limit_and_not_a_byte_longer(before, size, beyond, status):
    sent = before + padded(MAX_HEADER_BYTES + beyond)
    if size == 1:  # all but the last bytes at once
        chunks = [sent[:-6], *(sent[index : index + 1] for index in range(len(sent) - 6, len(sent)))]
    else:
        chunks = [sent[start : start + size] for start in range(0, len(sent), size)]
    _, connection = exchanged(*chunks)
    assert connection.statuses == [b"200"] * bool(before) + [status]


@pytest.mark.parametrize(
    "sent",
    [
        padded(200_000),
        padded(200_000)[:-2],
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    ],
)
def test_headers_that_are_far_too_long_in_one_read_are_refused(sent):
    echo, connection = exchanged(sent)
    assert (echo.seen, connection.statuses, connection.transport.closed) == ([], [b"400"], True)
    assert REFUSED in connection.transport.written[-1]


@pytest.mark.parametrize("bad", [padded(70_000), b"\x00 is no HTTP\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_what_cannot_be_read_behind_a_request_is_refused_after_its_answer(bad, together):
    async def scenario():
        echo = Echo()
        echo.opened.clear()
        connection = InMemoryConnection(echo)
        for chunk in [GET + bad] if together else [GET, bad]:
            connection.receive(chunk)
            await asyncio.sleep(0)
        assert connection.statuses == []
        connection.receive(GET)  # not read any more
        echo.opened.set()
        await connection.answered()
        return echo.seen, connection.statuses, connection.transport.closed

    assert asyncio.run(scenario()) == ([("/get", 0)], [b"200", b"400"], True)


def test_a_damaged_body_behind_a_request_costs_that_one_nothing():
    chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    echo, connection = exchanged(GET + chunked)
    assert (echo.seen, connection.statuses) == ([("/get", 0)], [b"200", b"400"])


def test_every_request_learns_that_the_caller_has_gone_and_none_begins_after_that():
    async def scenario():
        echo = Echo()
        connection = InMemoryConnection(echo)
        connection.receive(POST % (b"a", 5) + b"\r\nab")
        await asyncio.sleep(0)
        connection.protocol.connection_lost(None)
        await connection.answered()
        told = list(echo.seen)
        connection = InMemoryConnection(echo)
        echo.opened.clear()
        connection.receive(GET + GET)
        await asyncio.sleep(0)
        connection.protocol.connection_lost(None)
        echo.opened.set()
        await connection.answered()
        return told, echo.seen

    assert asyncio.run(scenario()) == (["gone"], ["gone", ("/get", 0)])


CHUNKED = b"POST /a HTTP/1.1\r\nX-API-Key: mine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
TRAILERS = b"X-API-Key: admin\r\nX-Request-ID: 7\r\nExpect: 100-continue\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_trailers_do_not_become_headers(size):
    sent = CHUNKED + TRAILERS + GET
    echo, connection = exchanged(*(sent[start : start + size] for start in range(0, len(sent), size)))
    assert echo.seen == [("/a", 3), ("/get", 0)]
    assert echo.headers[0] == [(b"x-api-key", b"mine"), (b"transfer-encoding", b"chunked")]
    assert connection.statuses == [b"200", b"200"]


def test_a_trailer_that_changes_the_length_is_refused():
    assert exchanged(CHUNKED + b"Content-Length: 1\r\n\r\n")[1].statuses == [b"400"]


@pytest.mark.parametrize(
    "filler", [b"X-A: " + b"x" * 50_000, b"X-A: b\r\n" * 5_000, b"X-A: " + b"x" * 500_000]
)
def test_trailers_have_an_end(filler):
    _, connection = exchanged(CHUNKED, filler, filler)
    assert (connection.statuses, connection.transport.closed) == ([b"400"], True)


@pytest.mark.parametrize("trailers", [b"X-A: b\r\n" * 15_000, b"X-A: " + b"x" * 120_000 + b"\r\n"])
@pytest.mark.parametrize("before", [b"", GET])
def test_trailers_have_an_end_also_where_all_of_it_arrives_at_once(trailers, before):
    echo, connection = exchanged(before + CHUNKED + trailers + b"\r\n" + GET)
    assert connection.statuses == [*([b"200"] if before else []), b"400"]
    assert ("/a", 3) not in echo.seen
    assert connection.transport.closed
    assert connection.transport.written[-1].endswith(b"The headers are too long.")


def test_each_request_may_have_trailers_of_its_own():
    echo, _ = exchanged((CHUNKED + b"X-A: " + b"x" * 60_000 + b"\r\n\r\n") * 3)
    assert echo.seen == [("/a", 3)] * 3


def test_a_chunk_whose_extension_has_no_end_is_refused():
    _, connection = exchanged(CHUNKED[:-3] + b"5;a=", b"x" * 50_000, b"x" * 50_000)
    assert connection.statuses == [b"400"]


def test_headers_at_the_limit_leave_room_for_a_body_that_comes_byte_by_byte():
    head = padded(MAX_HEADER_BYTES, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n")
    rest = b"1\r\na\r\n" * 100 + b"0\r\n\r\n"
    echo, _ = exchanged(head, *(rest[index : index + 1] for index in range(len(rest))))
    assert echo.seen == [("/a", 100)]


UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    b"Upgrade: TLS/1.0, h2c\r\nConnection: keep-alive, Upgrade\r\n",
]
BODIES = {
    "announced": b"Content-Length: 5\r\n\r\nabcde",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
    "trailing": b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [1, 40, 1_000_000])
def test_an_upgrade_is_ignored_and_the_body_read(upgrade, body, size):
    sent = (b"POST /a HTTP/1.1\r\nHost: x\r\n" + upgrade + BODIES[body]) * 2 + GET
    echo, connection = exchanged(*(sent[start : start + size] for start in range(0, len(sent), size)))
    assert echo.seen == [("/a", 5), ("/a", 5), ("/get", 0)]
    assert (connection.statuses, connection.transport.closed) == ([b"200"] * 3, False)


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_an_upgrade_without_a_body_is_ignored_too_and_leaves_the_connection_open(upgrade):
    echo, connection = exchanged(GET[:-2] + upgrade + b"\r\n" + GET, GET)
    assert echo.seen == [("/get", 0)] * 3
    assert not connection.transport.closed


def test_thousands_of_upgrades_in_one_write_are_all_served():
    request = GET[:-2] + UPGRADES[0] + b"\r\n"
    _, connection = exchanged(request * 2000)
    assert connection.statuses == [b"200"] * 2000


def test_an_upgrade_with_too_long_headers_is_refused_like_any_other():
    start = b"POST /a HTTP/1.1\r\n" + UPGRADES[0] + b"Content-Length: 5\r\n"
    assert exchanged(padded(MAX_HEADER_BYTES, start) + b"abcde")[1].statuses == [b"200"]
    assert exchanged(padded(MAX_HEADER_BYTES + 1, start) + b"abcde")[1].statuses == [b"400"]


def test_whoever_offers_an_upgrade_and_waits_to_be_told_to_go_on_is_told():
    head = POST % (b"a", 5) + UPGRADES[0] + b"Expect: 100-continue\r\n\r\n"
    echo, connection = exchanged(head, b"abcde")
    assert (echo.seen, connection.statuses) == ([("/a", 5)], [b"100", b"200"])
