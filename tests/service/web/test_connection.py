"""Against a real server on a socket: what waits for ever with uvicorn, and what must not be cut off."""

import asyncio
import contextlib
from functools import partial

import pytest
import uvicorn

from rbm_service.web.connection import Connection
from rbm_service.web.limits import MAX_HEADER_BYTES, BodyLimits

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT, LONG = 0.2, 60.0


async def read_all(scope, receive, send):
    """Answers with the number of bytes of the body."""
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await answer(send, str(length).encode())


async def refuse(scope, receive, send):
    """Answers without a look at the body."""
    await answer(send, b"no")


async def answer(send, body):
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(app, port, *, header_seconds=LONG, rest_seconds=LONG, keep_alive_seconds=LONG):
    config = uvicorn.Config(
        app,
        port=port,
        http=partial(Connection, header_seconds, BodyLimits(timeout_seconds=rest_seconds)),
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive_seconds,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await running


class Caller:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, data):
        self.writer.write(data)
        return await self.answer()

    async def answer(self):
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head.split()[1], await self.reader.readexactly(length)

    async def is_closed_by_the_server(self):
        try:
            return await asyncio.wait_for(self.reader.read(), 30) == b""
        except ConnectionResetError:
            return True

    async def trickle(self, data=b"x"):
        """Send bytes one by one until nobody takes them."""
        with contextlib.suppress(ConnectionError):
            while not self.reader.at_eof():
                self.writer.write(data)
                await self.writer.drain()
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET", HEAD, HEAD + b"X-Name: val"])
@pytest.mark.parametrize("earlier", ["as the first request", "after another one"])
def test_headers_that_do_not_end_in_time_end_the_connection(free_port, sent, earlier):
    async def scenario():
        async with serving(read_all, free_port, header_seconds=SHORT), connected(free_port) as connection:
            if earlier == "after another one":
                assert await connection.ask(GET) == (b"200", b"0")
                connection.writer.write(sent or b"\r")
            else:
                connection.writer.write(sent)
            return await connection.is_closed_by_the_server()

    assert asyncio.run(scenario())


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX-Name: ", b""])
def test_header_bytes_that_trickle_in_gain_no_time(free_port, start):
    async def scenario():
        async with serving(read_all, free_port, header_seconds=SHORT), connected(free_port) as connection:
            connection.writer.write(start)
            await asyncio.wait_for(connection.trickle(b"x" if start else b"\r\n"), 30)

    asyncio.run(scenario())


def test_the_rest_of_a_body_that_was_answered_already_has_an_end(free_port):
    async def scenario():
        async with serving(refuse, free_port, rest_seconds=SHORT), connected(free_port) as connection:
            assert await connection.ask(HEAD + b"Content-Length: 1000000\r\n\r\n") == (b"200", b"no")
            await asyncio.wait_for(connection.trickle(), 30)

    asyncio.run(scenario())


def test_one_byte_after_an_early_answer_does_not_buy_a_connection_for_good(free_port):
    async def scenario():
        limits = {"header_seconds": SHORT, "rest_seconds": LONG}
        async with serving(refuse, free_port, **limits), connected(free_port) as connection:
            assert await connection.ask(HEAD + b"Content-Length: 1\r\n\r\n") == (b"200", b"no")
            connection.writer.write(b"x")
            return await connection.is_closed_by_the_server()

    assert asyncio.run(scenario())


def test_after_an_early_answer_and_all_of_the_body_the_connection_goes_on(free_port):
    async def scenario():
        async with serving(refuse, free_port), connected(free_port) as connection:
            answers = []
            for _ in range(3):
                answers.append(await connection.ask(HEAD + b"Content-Length: 4\r\n\r\n"))
                connection.writer.write(b"late")
            return answers

    assert asyncio.run(scenario()) == [(b"200", b"no")] * 3


def test_an_idle_connection_is_closed_by_uvicorn_and_not_by_the_limit_on_headers(free_port):
    async def scenario():
        limits = {"header_seconds": SHORT, "keep_alive_seconds": LONG}
        async with serving(read_all, free_port, **limits), connected(free_port) as connection:
            assert await connection.ask(GET) == (b"200", b"0")
            await asyncio.sleep(3 * SHORT)
            return await connection.ask(GET)

    assert asyncio.run(scenario()) == (b"200", b"0")


def test_an_idle_connection_is_closed_in_time_whatever_it_waited_for_before(free_port):
    async def scenario():
        limits = {"header_seconds": LONG, "keep_alive_seconds": SHORT}
        async with serving(read_all, free_port, **limits), connected(free_port) as connection:
            answers = [await connection.ask(GET) for _ in range(3)]
            return answers, await connection.is_closed_by_the_server()

    assert asyncio.run(scenario()) == ([(b"200", b"0")] * 3, True)


def test_half_a_request_behind_another_one_does_not_cost_that_one_its_answer(free_port):
    async def slow(scope, receive, send):
        await asyncio.sleep(3 * SHORT)
        await answer(send, b"late")

    async def scenario():
        async with serving(slow, free_port, header_seconds=SHORT), connected(free_port) as connection:
            answered = await connection.ask(GET + HEAD)
            return answered, await connection.is_closed_by_the_server()

    assert asyncio.run(scenario()) == ((b"200", b"late"), True)


def test_requests_sent_at_once_are_all_answered(free_port):
    async def scenario():
        limits = {"header_seconds": LONG, "rest_seconds": LONG}
        async with serving(read_all, free_port, **limits), connected(free_port) as connection:
            connection.writer.write((HEAD + b"Content-Length: 2\r\n\r\nab") * 5)
            return [await connection.answer() for _ in range(5)]

    assert asyncio.run(scenario()) == [(b"200", b"2")] * 5


@pytest.mark.parametrize("line", [b"X-Name: " + b"x" * 1000 + b"\r\n", b"x" * 1000])
def test_headers_without_end_are_refused_before_they_fill_the_memory(free_port, line):
    async def scenario():
        async with serving(read_all, free_port), connected(free_port) as connection:
            connection.writer.write(HEAD + (b"" if line.endswith(b"\n") else b"X-Name: "))
            connection.writer.write(line * (MAX_HEADER_BYTES // len(line) + 1))
            return await connection.answer(), await connection.is_closed_by_the_server()

    assert asyncio.run(scenario()) == ((b"400", b"The headers are too long."), True)


def test_a_connection_that_ends_leaves_no_timer(free_port):
    async def scenario():
        async with serving(read_all, free_port) as server:
            async with connected(free_port) as connection:
                assert await connection.ask(GET) == (b"200", b"0")
                connection.writer.write(HEAD)
                while not all(protocol._timer for protocol in server.server_state.connections):
                    await asyncio.sleep(0.01)
                (protocol,) = server.server_state.connections
            while server.server_state.connections:
                await asyncio.sleep(0.01)
            return protocol._timer

    assert asyncio.run(scenario()) is None


def test_an_answer_without_a_body_has_its_head_all_the_same(free_port):
    async def scenario():
        async with serving(refuse, free_port), connected(free_port) as connection:
            for _ in range(2):
                connection.writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), 30)
                assert head.startswith(b"HTTP/1.1 200")

    asyncio.run(scenario())


def test_a_caller_that_waits_to_be_told_to_go_on_is_told(free_port):
    async def scenario():
        async with serving(read_all, free_port), connected(free_port) as connection:
            connection.writer.write(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            head = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), 30)
            assert head.startswith(b"HTTP/1.1 100")
            assert await connection.ask(b"ab") == (b"200", b"2")

    asyncio.run(scenario())
