"""Clients that keep a service busy, each in a thread of its own, and remember every answer."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Caller:
    """One client; it keeps its connection as long as the server does."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, body: object) -> Answer | None:
        """The answer, or None when nobody listens any more.

        Raises:
            OSError, http.client.HTTPException: a request was sent, and got no answer.
        """
        try:
            if self.connection.sock is None:
                self.connection.connect()
        except ConnectionRefusedError:
            return None
        self.connection.request("POST", "/classify", json.dumps(body), JSON)
        response = self.connection.getresponse()
        content = json.loads(response.read())
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, content)


@dataclass
class Calls:
    """What the callers saw; `failures` holds exceptions of any kind, those of `check` among them."""

    num_answers: int
    failures: list[BaseException]
    stopped: threading.Event
    threads: list[threading.Thread]


@contextmanager
def calling(
    port: int, bodies: Sequence[object], check: Callable[[int, Answer | None], bool], num_callers: int = 8
) -> Iterator[Calls]:
    """Callers that send these bodies in turn until the block ends or `check(index, answer)` says no."""
    calls = Calls(0, [], threading.Event(), [])

    def call(first: int) -> None:
        caller, index = Caller(port), first
        try:
            while not calls.stopped.is_set():
                if not check(index % len(bodies), caller.post(bodies[index % len(bodies)])):
                    return
                calls.num_answers += 1
                index += 1
        except BaseException as error:  # noqa: BLE001 - the unit of work is one caller
            calls.failures.append(error)
        finally:
            caller.connection.close()

    calls.threads += [threading.Thread(target=call, args=(first,)) for first in range(num_callers)]
    for thread in calls.threads:
        thread.start()
    try:
        yield calls
    finally:
        calls.stopped.set()
        for thread in calls.threads:
            thread.join()
