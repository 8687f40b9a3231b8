"""A service that answers as a test says, and remembers what it was sent."""

import json
from collections.abc import Sequence

import httpx2

from rbm_client import Client, Retries

QUICK = Retries(first_wait_seconds=0.001, longest_wait_seconds=0.002)
ADDRESS = "http://service"


def model(version: int = 1) -> dict[str, object]:
    return {"name": "tiny", "version": version}


def info(version: int = 1, **limits: float) -> httpx2.Response:
    usual = {
        "max_batch_rows": 64,
        "max_queued_rows": 8192,
        "max_request_rows": 4,
        "max_body_bytes": 2**24,
        "request_timeout_seconds": 10.0,
    }
    said = {
        "model": model(version),
        "models": [model(version)],
        "labels": ["red", "green", "blue"],
        "features": {"num_features": 2},
        "nodes": {"position_width": 4, "id_kind": "integer"},
        "limits": usual | limits,
    }
    return httpx2.Response(200, json=said)


def predictions(num_rows: int = 1, version: int = 1) -> httpx2.Response:
    row = {"node_id": None, "label": "red", "class_index": 0, "confidence": 0.5, "position": "cached"}
    said = {"model": model(version), "predictions": [row] * num_rows}
    return httpx2.Response(200, json=said, headers={"X-Request-ID": "a1"})


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    said = {"status": status, "code": code, "detail": "it went wrong", "errors": []}
    return httpx2.Response(status, json=said, headers={"X-Request-ID": "a1"} | headers)


class Script:
    """Answers, or errors of the connection, one for each request; the last one for all that follow."""

    def __init__(self, *outcomes: httpx2.Response | type[httpx2.RequestError]) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, type):
            raise outcome("as the test says")
        return httpx2.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]

    @property
    def bodies(self) -> Sequence[object]:
        return [json.loads(request.content) for request in self.requests if request.content]


def client_of(script: Script, retries: Retries = QUICK) -> Client:
    return Client(ADDRESS, retries=retries, transport=httpx2.MockTransport(script))
