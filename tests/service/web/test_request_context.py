import asyncio

import pytest
from starlette.requests import ClientDisconnect

from rbm_service.errors import PayloadTooLargeError, RequestTimeoutError
from rbm_service.web.limits import BodyLimits
from rbm_service.web.request_context import Exchange, RequestContext

LAST = {"type": "http.request", "body": b"abc", "more_body": False}


def context_of(receive, timeout_seconds=60.0):
    return RequestContext({"headers": []}, receive, None, BodyLimits(100, timeout_seconds))


class Whole(Exchange):
    """What a server gives that has a body in one piece, or takes an answer so."""

    def __init__(self, body=None, takes_answers=True):
        self.whole = body
        self.takes_answers = takes_answers
        self.answers = []
        self.headers = {b"x-request-id": b"abc"}
        self.drops_body = False

    def whole_body(self):
        return self.whole

    def answer(self, *answer):
        self.answers.append(answer)
        return self.takes_answers

    async def receive(self):
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)


def whole_exchange(direct, *messages, send=None):
    """A context whose server offers `direct`, or nothing but messages."""
    server = direct or Messages()
    server.messages, server.sent = list(messages), []
    scope = {"headers": [(b"x-request-id", b"abc")]}
    return RequestContext(scope, server.receive, send or server.send, BodyLimits(100, 60.0)), server


class Messages:
    receive, send = Whole.receive, Whole.send


def test_a_body_that_is_there_is_taken_as_it_is_and_then_the_caller_may_go():
    async def scenario():
        context, _ = whole_exchange(Whole(b"abc"), {"type": "http.disconnect"})
        return await context.body(), await context.receive()

    assert asyncio.run(scenario()) == (b"abc", {"type": "http.disconnect"})


FIRST = {"type": "http.request", "body": b"x" * 10, "more_body": True}


@pytest.mark.parametrize("direct", [Whole(), None])
def test_a_body_that_is_not_there_is_received(direct):
    context, _ = whole_exchange(direct, FIRST, LAST)
    assert asyncio.run(context.body()) == b"x" * 10 + b"abc"


def test_nobody_waits_for_a_body_whose_caller_has_gone():
    context, _ = whole_exchange(Whole(), FIRST, {"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        asyncio.run(context.body())


def test_a_body_that_is_there_may_be_too_long_as_well():
    context, _ = whole_exchange(Whole(b"x" * 101))
    with pytest.raises(PayloadTooLargeError):
        asyncio.run(context.body())


HEAD = {"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


def sent_by_messages(direct, *messages, send=None):
    async def scenario():
        context, server = whole_exchange(direct, send=send)
        for message in messages:
            await context.send(message)
        return context.status, server.sent

    return asyncio.run(scenario())


def test_head_and_body_leave_together_with_the_id():
    direct = Whole()
    assert sent_by_messages(direct, HEAD, BODY) == (201, [])
    assert direct.answers == [(201, [(b"content-length", b"2"), (b"x-request-id", b"abc")], b"ok")]


@pytest.mark.parametrize(
    ("direct", "bodies"),
    [(Whole(takes_answers=False), [BODY]), (Whole(), [{**BODY, "more_body": True}, BODY]), (None, [BODY])],
)
def test_an_answer_that_cannot_leave_in_one_piece_goes_by_messages(direct, bodies):
    status, sent = sent_by_messages(direct, HEAD, *bodies)
    assert status == 201
    assert sent == [{**HEAD, "headers": [*HEAD["headers"], (b"x-request-id", b"abc")]}, *bodies]


def test_whoever_stands_between_the_server_and_the_application_sees_every_message():
    seen = []

    async def between(message):
        seen.append(message["type"])

    direct = Whole()
    assert sent_by_messages(direct, HEAD, BODY, send=between)[0] == 201
    assert (seen, direct.answers) == (["http.response.start", "http.response.body"], [])


def test_of_a_head_that_no_body_follows_nothing_was_sent():
    assert sent_by_messages(Whole(), HEAD) == (0, [])


def test_a_body_that_comes_bit_by_bit_is_waited_for():
    async def receive():
        for _ in range(3):
            await asyncio.sleep(0.01)
        return LAST

    assert asyncio.run(scenario_of(receive)) == LAST


async def scenario_of(receive, timeout_seconds=60.0):
    return await context_of(receive, timeout_seconds).receive()


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
