"""Against uvicorn's own protocol: what goes past its messages arrives like what goes through them."""

import asyncio

import pytest

from rbm_service.web.limits import BodyLimits
from rbm_service.web.request_context import CONNECTION_CLOSE, RequestContext
from tests.connections import InMemoryConnection

POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
HEADERS = [(b"content-length", b"2"), (b"x-id", b"7")]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-id: 7\r\n\r\nok"


def exchanged(app, *chunks, default_headers=(), prepare=lambda protocol: None):
    """The transport of a connection whose requests are answered, and whether it was kept open after that."""

    async def scenario():
        connection = InMemoryConnection(app, default_headers)
        prepare(connection.protocol)
        for chunk in chunks:
            connection.protocol.data_received(chunk)
            await asyncio.sleep(0)
        await connection.answered()
        kept_open = not connection.transport.closed
        connection.protocol.connection_lost(None)
        return connection.transport, kept_open

    return asyncio.run(scenario())


def written(*arguments, **others):
    """What is written on it."""
    return exchanged(*arguments, **others)[0].written


async def directly(scope, receive, send):
    exchange = receive.__self__
    assert exchange.whole_body() is not None
    assert exchange.answer(200, HEADERS, b"ok")


async def by_messages(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"ok"})


def test_an_answer_leaves_in_one_piece():
    assert written(directly, POST + b"\r\nabc") == [ANSWER]


@pytest.mark.parametrize(
    ("head", "default_headers"),
    [
        (POST, [(b"date", b"today"), (b"server", b"uvicorn")]),
        (POST, [CONNECTION_CLOSE]),
        (POST + b"Connection: close\r\n", []),
        (POST.replace(b"HTTP/1.1", b"HTTP/1.0"), []),
        (POST + b"Expect: 100-continue\r\n", []),
    ],
)
def test_it_says_what_uvicorns_own_answer_says(head, default_headers):
    request = head + b"\r\nabc"
    (one, is_kept), (other, other_is_kept) = (
        exchanged(app, request, default_headers=default_headers) for app in (directly, by_messages)
    )
    own = b"".join(other.written).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")  # not with the body there
    assert b"".join(one.written) == own
    assert is_kept == other_is_kept == (b"close" not in own)


def test_one_request_follows_another_on_the_same_connection_also_before_it_is_answered():
    request = POST + b"\r\nabc"
    assert written(directly, request, request) == [ANSWER] * 2
    assert written(directly, request + request) == [ANSWER] * 2


def test_a_body_is_taken_when_all_of_it_is_there_and_nothing_of_it_is_received_after_that():
    seen = []

    async def app(scope, receive, send):
        exchange = receive.__self__
        seen.append(exchange.whole_body())
        await asyncio.sleep(0.01)
        seen.append(exchange.whole_body())
        seen.append(await receive())
        gone = asyncio.create_task(receive())
        await asyncio.sleep(0.01)
        seen.append(gone.done())
        exchange.answer(200, HEADERS, b"ok")
        seen.append(await gone)

    exchanged(app, POST + b"\r\na", b"bc")
    nothing = {"type": "http.request", "body": b"", "more_body": False}
    assert seen == [None, b"abc", nothing, False, {"type": "http.disconnect"}]


def test_after_a_long_body_it_is_still_noticed_that_the_caller_goes():
    async def app(scope, receive, send):
        exchange = receive.__self__
        seen.append(protocols[0].transport.is_read)
        assert len(exchange.whole_body()) == 100_000
        seen.append(protocols[0].transport.is_read)
        assert exchange.answer(200, HEADERS, b"ok")

    seen, protocols = [], []
    head = POST.replace(b"Length: 3", b"Length: 100000")
    exchanged(app, head + b"\r\n" + b"x" * 100_000, prepare=protocols.append)
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("request_head", "headers"),
    [
        (POST, [(b"content-length", b"3")]),
        (POST, []),
        (POST, [*HEADERS, (b"x", b"1\r\nset-cookie: y")]),
        (POST.replace(b"POST", b"HEAD"), HEADERS),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_messages(request_head, headers):
    sent = []

    async def app(scope, receive, send):
        sent.append(receive.__self__.answer(200, headers, b"ok"))
        await by_messages(scope, receive, send)

    transport, _ = exchanged(app, request_head + b"\r\nabc")
    assert sent == [False]
    assert transport.written[0].startswith(ANSWER[:-2])


def test_a_reader_that_is_too_slow_is_waited_for_by_messages():
    sent = []

    async def app(scope, receive, send):
        sent.append(receive.__self__.answer(200, HEADERS, b"ok"))
        protocols[0].resume_writing()
        await by_messages(scope, receive, send)

    def prepare(protocol):
        protocols.append(protocol)
        protocol.pause_writing()

    protocols = []
    assert b"".join(written(app, POST + b"\r\nabc", prepare=prepare)) == ANSWER
    assert sent == [False]


def test_nothing_is_sent_to_a_caller_who_has_gone():
    async def app(scope, receive, send):
        exchange = receive.__self__
        protocols[0].connection_lost(None)
        seen.append((exchange.whole_body(), exchange.answer(200, HEADERS, b"ok")))

    seen, protocols = [], []
    assert written(app, POST + b"\r\nabc", prepare=protocols.append) == []
    assert seen == [(None, True)]


def test_an_answer_is_not_sent_twice():
    sent = []

    async def app(scope, receive, send):
        exchange = receive.__self__
        sent.extend(exchange.answer(200, HEADERS, b"ok") for _ in range(2))

    assert written(app, POST + b"\r\nabc") == [ANSWER]
    assert sent == [True, False]


@pytest.mark.parametrize("goes", ["before", "while", "after"])
def test_whoever_watches_learns_once_that_the_caller_goes_unless_it_has_its_answer(goes):
    told, protocols = [], []

    async def app(scope, receive, send):
        exchange = receive.__self__
        if goes == "before":
            protocols[0].connection_lost(None)
        RequestContext(scope, receive, send, BodyLimits()).watch(lambda: told.append("gone"))
        if goes == "while":
            protocols[0].connection_lost(None)
        exchange.answer(200, HEADERS, b"ok")

    exchanged(app, POST + b"\r\nabc", prepare=protocols.append)
    assert told == ([] if goes == "after" else ["gone"])


def test_of_two_requests_at_once_the_one_that_is_being_answered_learns_that_the_caller_goes():
    told, protocols = [], []

    async def app(scope, receive, send):
        RequestContext(scope, receive, send, BodyLimits()).watch(lambda: told.append(len(told)))
        await asyncio.sleep(0.01)
        protocols[0].connection_lost(None)

    request = POST + b"\r\nabc"
    exchanged(app, request + request, prepare=protocols.append)
    assert told == [0]
