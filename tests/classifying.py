"""Requests to /classify, and services to send them to."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from structlog.typing import EventDict

from rbm_bundle import Bundle
from rbm_service.api.dependencies import AppState
from rbm_service.api.schemas import ClassifyResponse, Problem
from rbm_service.app import create_app
from rbm_service.inference.batch import Run
from rbm_service.settings import Settings
from tests.batchers import batcher_behind
from tests.bundles import repository_of


def classify(client: TestClient, **body: object) -> list[dict[str, Any]]:
    """The predictions, in an answer that its schema knows."""
    answer = client.post("/classify", json=body)
    assert answer.status_code == 200, answer.text
    ClassifyResponse.model_validate_json(answer.content)
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def refused(client: TestClient, status: int, code: str, **request: Any) -> dict[str, Any]:
    """The problem that a request is answered with, in the form that its schema knows."""
    answer = client.post("/classify", **request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.code == code
    assert problem.status == status
    assert problem.request_id == answer.headers["x-request-id"]
    return dict(answer.json())


def body_of(num_bytes: int) -> bytes:
    """A body of this length that asks for one node."""
    return b'{"node_ids": [100]' + b" " * (num_bytes - 19) + b"}"


def serve(bundle: Bundle, root: Path) -> TestClient:
    """A service for a bundle, published into an empty repository."""
    repository_of(root, bundle.path)
    return TestClient(create_app(Settings(models_dir=root, device="cpu", max_batch_rows=4)))


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client on the event loop of the service itself, which runs for as long as the block."""
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


@contextmanager
def lines_of(client: TestClient) -> Iterator[list[EventDict]]:
    """What is logged while the block runs, the lines of all its requests included."""
    with capture_logs() as lines:
        yield lines
        client.portal.call(asyncio.sleep, 0)  # they are written in the next turn of the service's loop


def replace_run(app: FastAPI, run: Run, **limits: int) -> None:
    """Put another way to run the graph behind the model in service."""
    parts: AppState = app.app_state
    model = parts.models.current()
    parts.models.swap(replace(model, batcher=batcher_behind(model, run, **limits)))
