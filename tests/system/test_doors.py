"""What callers send who mean ill, or have a bad line: it never gets a 5xx, and keeps nobody else waiting."""

import contextlib
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.callers import calling
from tests.classifying import body_of
from tests.servers import running_server, wait_until

MAX_BODY_BYTES = 300
NUM_SLOW = 500
TIMEOUT_SECONDS = 8
POST = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def small(models_dir, tmp_path_factory):
    """A server that reads short bodies, and waits for none of them long."""
    log = tmp_path_factory.mktemp("small") / "log"
    limits = {"max_body_bytes": MAX_BODY_BYTES, "body_timeout_seconds": 1, "header_timeout_seconds": 1}
    with running_server(models_dir, log, **limits) as server:
        yield server
        assert server.classify({"node_ids": [100]})["predictions"][0]["node_id"] == 100
        assert not [line for line in server.events("request") if line["status"] >= 500]
        assert not server.events("request failed")


@pytest.fixture(scope="module")
def roomy(models_dir, tmp_path_factory):
    with running_server(models_dir, tmp_path_factory.mktemp("roomy") / "log") as server:
        yield server
        assert not server.events("request failed")


def send(port, *parts):
    """What the server says to these parts, sent one by one, until it closes or has given a whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass  # it was refused before its end
        return whole_answer(connection)


def whole_answer(connection):
    said = b""
    while not is_whole(said):
        data = connection.recv(65536)
        if not data:
            break
        said += data
    return said


def is_whole(said):
    head, _, body = said.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])


def status_of(said):
    return int(said.split()[1])


def announced(body):
    return [POST + b"Content-Length: %d\r\n\r\n" % len(body), body]


def chunked(body, num_bytes):
    pieces = [body[start : start + num_bytes] for start in range(0, len(body), num_bytes)]
    return [
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces),
        LAST_CHUNK,
    ]


SENT = {
    "announced": announced,
    "byte by byte": lambda body: [announced(body)[0], *(bytes([byte]) for byte in body)],
    "in one chunk": lambda body: chunked(body, len(body)),
    "in chunks of 50": lambda body: chunked(body, 50),
    "in chunks of 1": lambda body: chunked(body, 1),
}


@pytest.mark.parametrize("way", SENT)
@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_a_body_may_be_as_long_as_the_limit_and_not_a_byte_longer(small, way, beyond, status):
    assert status_of(send(small.port, *SENT[way](body_of(MAX_BODY_BYTES + beyond)))) == status


LENGTHS = {
    "too short": (b"Content-Length: 19\r\n\r\n" + body_of(100), 400),
    "too long": (b"Content-Length: 100\r\n\r\n" + body_of(19), 408),
    "beyond the limit, with nothing behind it": (b"Content-Length: 1000000000\r\n\r\n", 413),
    "beyond any number": (b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "negative": (b"Content-Length: -1\r\n\r\n", 400),
    "no number": (b"Content-Length: ten\r\n\r\n", 400),
    "given twice": (b"Content-Length: 19\r\nContent-Length: 20\r\n\r\n", 400),
    "beside chunks": (b"Content-Length: 19\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK, 400),
    "not given": (b"\r\n", 400),
    "of a chunk too short": (b"Transfer-Encoding: chunked\r\n\r\n2\r\n" + body_of(100), 400),
    "of a chunk beyond any number": (b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n", 400),
    "of a chunk that ends early": (b"Transfer-Encoding: chunked\r\n\r\nff\r\n{", 408),
}


@pytest.mark.parametrize("length", LENGTHS)
def test_a_length_that_is_a_lie_harms_nobody(small, length):
    rest, status = LENGTHS[length]
    statuses = [int(part[:3]) for part in send(small.port, POST + rest).split(b"HTTP/1.1 ")[1:]]
    assert statuses
    assert statuses[-1] == status


ONE_LONG_ROW = json.dumps({"indptr": [0, 1_000_000], "indices": [0] * 1_000_000}).encode()
BODIES = {
    "deep lists": (b"[" * 1_000_000, 400),
    "deep objects": (b'{"features":' * 500_000, 400),
    "deep lists that end": (b'{"node_ids": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "a million ids": (json.dumps({"node_ids": list(range(1_000_000))}).encode(), 422),
    "a million rows": (b'{"features": [' + b",".join([b"[]"] * 1_000_000) + b"]}", 422),
    "a million keys": (json.dumps({f"k{number}": 0 for number in range(1_000_000)}).encode(), 422),
    "a million columns": (b'{"neighbors": [[]], "features": ' + ONE_LONG_ROW + b"}", 422),
    "a number of a million digits": (b'{"node_ids": [' + b"9" * 1_000_000 + b"]}", 400),
    "a string of ten million": (b'{"node_ids": ["' + b"x" * 10_000_000 + b'"]}', 422),
    "zeros": (bytes(1_000_000), 400),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_monstrous_body_gets_a_short_refusal(roomy, name):
    body, status = BODIES[name]
    said = send(roomy.port, *announced(body))
    assert status_of(said) == status, said[:1000]
    assert len(said) < 10_000
    assert roomy.classify({"node_ids": [100]})["predictions"][0]["node_id"] == 100


@dataclass
class SlowClient:
    """Half a request, and then nothing, or a byte now and then."""

    half: bytes
    trickles: bool
    heard: bytes = b""
    is_cut_off: bool = False
    connection: socket.socket = field(init=False)

    def connect(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.connection.sendall(self.half)
        self.connection.setblocking(False)

    def go_on(self):
        try:
            data = self.connection.recv(65536)
            self.heard, self.is_cut_off = self.heard + data, not data
        except BlockingIOError:
            if self.trickles:
                with contextlib.suppress(ConnectionError):
                    self.connection.send(b"1")
        except ConnectionError:
            self.is_cut_off = True


def test_five_hundred_slow_clients_are_cut_off_and_keep_nobody_waiting(models_dir, tmp_path):
    def num_open_files():
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    def is_right(index, answer):
        return answer is not None and answer.status == 200

    def all_are_cut_off():
        waiting = [client for client in clients if not client.is_cut_off]
        for client in waiting:
            client.go_on()
        return not waiting

    half_headers = b"GET /livez HTTP/1.1\r\nX-Name: "
    half_body = POST + b"Content-Length: 200\r\n\r\n"
    clients = [SlowClient(half, trickles) for half in (half_headers, half_body) for trickles in (True, False)]
    clients = [SlowClient(one.half, one.trickles) for one in clients for _ in range(NUM_SLOW // 4)]
    limits = {"header_timeout_seconds": TIMEOUT_SECONDS, "body_timeout_seconds": TIMEOUT_SECONDS}
    with running_server(models_dir, tmp_path / "log", **limits) as server, contextlib.ExitStack() as opened:
        before = num_open_files()
        with calling(server.port, [{"node_ids": [100]}, {"node_ids": [105] * 40}], is_right, 2) as calls:
            for client in clients:
                client.connect(server.port)
                opened.enter_context(client.connection)
            wait_until(lambda: num_open_files() >= before + NUM_SLOW, "all are connected")
            answered = calls.num_answers
            wait_until(lambda: calls.num_answers > answered + 20, "others are answered meanwhile")
            wait_until(all_are_cut_off, "the server cuts them off")
        assert calls.failures == []
        wait_until(lambda: num_open_files() <= before, "their files are closed")
        assert server.get("/livez")
    quiet = [client for client in clients if client.half == half_body and not client.trickles]
    assert {client.heard.split(b"\r\n")[0] for client in quiet} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(b"connection: close" in client.heard.lower() for client in quiet)
    assert {client.heard for client in clients if client.half == half_headers} == {b""}
