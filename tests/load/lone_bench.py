"""How long a caller waits for an answer, one request at a time: alone, and beside callers of long bodies.

Run alone: `python -m tests.load.lone_bench`.
"""

import json
import multiprocessing
import random
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rbm_bundle import Bundle
from tests.load.contenders import service, yardstick
from tests.load.http_bench import as_json
from tests.load.production import publish_production_model
from tests.load.wrk import HttpBenchError, Request, Server, check_machine, confined_to

PAIRS: Final = 9
REQUESTS: Final = 300  # of each side in a pair
WARM_UP: Final = 100
NUM_LONG_CALLERS: Final = 8
LONG_BODY_BYTES: Final = 16 * 2**20
SMALL_REQUESTS: Final = 400  # of the small caller beside them, one every few milliseconds
SMALL_PAUSE_SECONDS: Final = 0.02
SMALL: Final = Request("/classify", b'{"node_ids":[17]}')


def lone_results() -> dict[str, float]:
    """Measure.

    Returns:
        `classify_alone_over_plain_fastapi`: median latency of one row of 164 numbers over that of an ordinary
        FastAPI route with the dense graph, no access log on either side; `…_logged`, both with one.
        `small_caller_p99_ms_beside_long_bodies`: of requests by id, while eight callers send 16 MiB of
        numbers each, again and again; `small_caller_p99_ms_alone`, without them.

    Raises:
        HttpBenchError: there is one core only, or a request failed.
    """
    serving_core, calling_core = check_machine()[:2]
    with tempfile.TemporaryDirectory() as name, confined_to(calling_core):
        models_dir = Path(name) / "models"
        bundle = publish_production_model(models_dir)
        return {
            "classify_alone_over_plain_fastapi": _alone(models_dir, bundle, serving_core, logged=False),
            "classify_alone_over_plain_fastapi_logged": _alone(models_dir, bundle, serving_core, logged=True),
            **_beside_long_bodies(models_dir, serving_core),
        }


class Caller:
    """A connection that is kept, by hand: what an HTTP library does around a socket would count as well."""

    def __init__(self, server: Server, request: Request) -> None:
        address = urlsplit(server.url)
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST {request.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(request.body)}\r\n\r\n"
        )
        self._request = head.encode() + request.body

    def seconds_of_one(self) -> float:
        """Until the last byte of the answer."""
        started = time.perf_counter()
        self._socket.sendall(self._request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._received()
        head = answer[:end].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(answer) < end + 4 + length:
            answer += self._received()
        seconds = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200"):
            raise HttpBenchError(f"lone caller: {answer[:200]!r}")
        return seconds

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _received(self) -> bytes:
        if not (received := self._socket.recv(65536)):
            raise HttpBenchError("lone caller: the server hung up")
        return received


def _alone(models_dir: Path, bundle: Bundle, core: int, *, logged: bool) -> float:
    graph, level = str(bundle.graph_path("cuda")), "info" if logged else "warning"
    with ExitStack() as stack:
        ours = stack.enter_context(service(models_dir, core, log_level=level))
        theirs = stack.enter_context(yardstick("plain_fastapi", core, graph, *["logged"][: int(logged)]))
        callers = [Caller(server, as_json(1)) for server in (ours, theirs)]
        for caller in callers:
            stack.callback(caller.close)
            _median_seconds(caller, WARM_UP)
        ratios = [_ratio(callers) for _ in range(PAIRS)]
    print(f"one caller, {'with' if logged else 'without'} access logs: {[round(it, 2) for it in ratios]}")
    return round(statistics.median(ratios), 3)


def _ratio(callers: Sequence[Caller]) -> float:
    """Of the first caller's median to the second's; who goes first is drawn."""
    medians = {}
    for place in random.sample((0, 1), 2):
        medians[place] = _median_seconds(callers[place], REQUESTS)
    return medians[0] / medians[1]


def _median_seconds(caller: Caller, num_requests: int) -> float:
    return statistics.median([caller.seconds_of_one() for _ in range(num_requests)])


def _beside_long_bodies(models_dir: Path, core: int) -> dict[str, float]:
    with service(models_dir, core, log_level="warning") as server:
        alone = _p99_milliseconds(server)
        with _long_callers(server):
            beside = _p99_milliseconds(server)
    return {"small_caller_p99_ms_alone": alone, "small_caller_p99_ms_beside_long_bodies": beside}


def _p99_milliseconds(server: Server) -> float:
    caller, seconds = Caller(server, SMALL), []
    for _ in range(SMALL_REQUESTS):
        seconds.append(caller.seconds_of_one())
        time.sleep(SMALL_PAUSE_SECONDS)
    caller.close()
    return round(1000 * statistics.quantiles(seconds, n=100)[98], 1)


@contextmanager
def _long_callers(server: Server) -> Iterator[None]:
    """Callers that send a long body as soon as they have the answer to the one before, in a process of their
    own: the small caller would wait for the interpreter as well as for its answer."""
    process = multiprocessing.get_context("spawn").Process(target=_send_long_bodies, args=[server])
    process.start()
    try:
        time.sleep(5)  # until bodies are made, and arrive
        yield
        if not process.is_alive():
            raise HttpBenchError("the callers of long bodies have stopped")
    finally:
        process.kill()
        process.join()


def _send_long_bodies(server: Server) -> None:
    body = _long_body()

    def call() -> None:
        caller = Caller(server, Request("/classify", body))
        while True:
            caller.seconds_of_one()

    threads = [threading.Thread(target=call) for _ in range(NUM_LONG_CALLERS)]
    for thread in threads:
        thread.start()
    threads[0].join()


def _long_body() -> bytes:
    """As many rows as a request may have, their numbers written out in full until it is long enough."""
    rows = json.loads(as_json(1024).body)
    digits = LONG_BODY_BYTES // (1024 * 164) - 4
    text = {
        name: "[" + ",".join("[" + ",".join(f"{x:.{digits}f}" for x in row) + "]" for row in matrix) + "]"
        for name, matrix in rows.items()
    }
    return ("{" + ",".join(f'"{name}":{matrix}' for name, matrix in text.items()) + "}").encode()


if __name__ == "__main__":
    try:
        print(json.dumps(lone_results(), indent=2))
    except HttpBenchError as error:
        raise SystemExit(str(error)) from None
