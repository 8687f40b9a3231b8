"""What is tried again, when, and what never is."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from clients.python.tests.scripted import QUICK, Script, client_of, info, predictions, problem
from rbm_client import (
    AsyncClient,
    ConnectionFailedError,
    ConnectionLostError,
    InputError,
    OverloadedError,
    Retries,
    StatusError,
    TimedOutError,
    UnavailableError,
)
from rbm_client.errors import status_error
from rbm_client.exchange import Answer, Call, Send, Wait, exchange

BUSY = problem(429, "overloaded", **{"Retry-After": "0"})
DRAINING = problem(503, "draining")
PASSING = [
    BUSY,
    DRAINING,
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ReadError,
    httpx2.RemoteProtocolError,
]


@pytest.mark.parametrize("trouble", PASSING)
def test_what_may_pass_is_tried_again_with_the_same_request(trouble):
    script = Script(info(), trouble, trouble, predictions())
    with client_of(script) as client:
        assert client.classify(node_ids=[100]).labels.tolist() == ["red"]
    assert script.paths == ["/info", "/classify", "/classify", "/classify"]
    assert script.bodies == [{"node_ids": [100]}] * 3


@pytest.mark.parametrize("trouble", [BUSY, httpx2.ConnectError, httpx2.ReadError])
def test_the_client_that_awaits_tries_again_too(trouble):
    script = Script(info(), trouble, predictions())

    async def ask():
        transport = httpx2.MockTransport(script)
        async with AsyncClient("http://service", retries=QUICK, transport=transport) as client:
            return await client.classify(node_ids=[100])

    assert asyncio.run(ask()).labels.tolist() == ["red"]
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (BUSY, OverloadedError),
        (DRAINING, UnavailableError),
        (httpx2.ConnectError, ConnectionFailedError),
        (httpx2.ReadError, ConnectionLostError),
    ],
)
def test_the_last_failure_is_told_when_no_retry_is_left(trouble, error):
    script = Script(info(), trouble)
    with client_of(script, Retries(max_retries=2, first_wait_seconds=0.001)) as client, pytest.raises(error):
        client.classify(node_ids=[100])
    assert script.paths == ["/info"] + ["/classify"] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 504])
def test_what_will_not_pass_is_not_tried_again(status):
    script = Script(info(), problem(status, "some_code"))
    with client_of(script) as client, pytest.raises(StatusError):
        client.classify(node_ids=[100])
    assert script.paths.count("/classify") == 1


def test_an_answer_that_takes_too_long_is_not_asked_for_again():
    script = Script(info(), httpx2.ReadTimeout)
    with client_of(script) as client, pytest.raises(TimedOutError, match="http://service/classify"):
        client.classify(node_ids=[100])
    assert len(script.requests) == 2


@pytest.mark.parametrize("trouble", PASSING)
@pytest.mark.parametrize(
    "command",
    [
        lambda client: client.promote("tiny", 2),
        lambda client: client.rollback("tiny"),
        lambda client: client.reload("tiny"),
        lambda client: client.load("tiny"),
        lambda client: client.unload("tiny"),
    ],
    ids=["promote", "rollback", "reload", "load", "unload"],
)
def test_a_command_is_never_sent_twice(command, trouble):
    script = Script(trouble)
    with (
        client_of(script) as client,
        pytest.raises((OverloadedError, UnavailableError, ConnectionFailedError, ConnectionLostError)),
    ):
        command(client)
    assert len(script.requests) == 1


def waits_of(retries, *outcomes, seconds_each=0.0):
    """The waits between attempts, by a clock that goes on with them."""
    now, waits = [0.0], []
    steps = exchange(Call("POST", "/classify"), retries, 30.0, lambda: now[0])
    step, left = next(steps), list(outcomes)
    try:
        while True:
            if isinstance(step, Wait):
                waits.append(step.seconds)
                now[0] += step.seconds
                step = steps.send(None)
            else:
                assert isinstance(step, Send)
                now[0] += seconds_each
                step = steps.send(left.pop(0))
    except StopIteration:
        return waits, None
    except (StatusError, ConnectionFailedError) as error:
        return waits, error


def busy(**headers):
    return Answer(429, headers, b"{}")


def test_waits_double_up_to_a_bound_and_differ_from_one_client_to_the_next():
    retries = Retries(max_retries=8, first_wait_seconds=1, longest_wait_seconds=8, deadline_seconds=100)
    several = [waits_of(retries, *[busy()] * 9)[0] for _ in range(20)]
    for retry, most in enumerate([1, 2, 4, 8, 8, 8, 8, 8]):
        column = [waits[retry] for waits in several]
        assert min(column) >= most / 2
        assert max(column) <= most
        assert len(set(column)) > 1


def test_a_service_that_says_when_to_come_again_is_given_that_time():
    [wait], error = waits_of(Retries(), busy(**{"retry-after": "7"}), Answer(200, {}, b"{}"))
    assert error is None
    assert 7.05 <= wait <= 7.1


def test_the_time_to_come_again_may_be_a_date():
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < status_error(503, {"retry-after": then}, b"").retry_after_seconds <= 90
    assert status_error(503, {"retry-after": "soon"}, b"").retry_after_seconds is None


def test_no_attempt_starts_after_the_deadline():
    retries = Retries(max_retries=100, deadline_seconds=10)
    waits, error = waits_of(retries, *[busy(**{"retry-after": "3"})] * 9)
    assert isinstance(error, OverloadedError)
    assert len(waits) == 3
    waits, error = waits_of(retries, *[ConnectionFailedError("refused")] * 9, seconds_each=6.0)
    assert isinstance(error, ConnectionFailedError)
    assert len(waits) == 1


def test_an_attempt_may_take_only_what_is_left_until_the_deadline():
    now = [0.0]
    steps = exchange(Call("GET", "/info"), Retries(deadline_seconds=10), 30.0, lambda: now[0])
    assert next(steps).timeout_seconds == 10
    now[0] = 4.0
    assert isinstance(steps.send(busy()), Wait)
    assert steps.send(None).timeout_seconds == 6


def test_a_wait_that_would_pass_the_deadline_is_not_begun():
    script = Script(info(), problem(429, "overloaded", **{"Retry-After": "3600"}))
    started = time.monotonic()
    with client_of(script) as client, pytest.raises(OverloadedError) as caught:
        client.classify(node_ids=[100])
    assert caught.value.retry_after_seconds == 3600
    assert time.monotonic() - started < 60
    assert len(script.requests) == 2


def test_retries_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match=r"Retries\.deadline_seconds: found -1; wanted 0 or more"):
        Retries(deadline_seconds=-1)
