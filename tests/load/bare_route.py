"""The yardstick of the HTTP benchmark: a FastAPI route that answers a constant, within the same middleware.

Run as `python -m tests.load.bare_route PORT`; it serves on 127.0.0.1 as `rbm-serve` does.
"""

import sys

from fastapi import FastAPI
from prometheus_client import disable_created_metrics
from pydantic import BaseModel
from starlette.middleware import Middleware

from rbm_service.observability.logging import configure_logging
from rbm_service.observability.metrics import Metrics
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing
from rbm_service.web.limits import BodyLimits
from rbm_service.web.middleware import RequestMiddleware
from tests.load.yardsticks import serve


class Question(BaseModel):
    """The body of the benchmark's requests."""

    node_ids: list[int]


class ModelRef(BaseModel):
    """As in the real answer."""

    name: str
    version: int


class Prediction(BaseModel):
    """As in the real answer."""

    node_id: int
    label: str
    class_index: int
    confidence: float
    position: str


class Answer(BaseModel):
    """As long as the real answer to one node."""

    model: ModelRef
    predictions: list[Prediction]


ANSWER = Answer(
    model=ModelRef(name="production", version=1),
    predictions=[
        Prediction(
            node_id=17,
            label="class 17",
            class_index=17,
            confidence=0.12345678901234567,
            position="cached",
        )
    ],
)


def create_bare_app() -> FastAPI:
    """The route, the health route that a start waits for, and the middleware of the service."""
    settings = Settings()
    app = FastAPI(
        middleware=[
            Middleware(
                RequestMiddleware,
                metrics=Metrics(),
                keys=KeyRing(),
                routes=["/classify", "/readyz"],
                inference_routes=["/classify"],
                body_limits=BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds),
            )
        ]
    )

    @app.post("/classify", response_model=Answer)
    async def classify(question: Question) -> Answer:
        return ANSWER

    @app.get("/readyz")
    async def readyz() -> str:
        return "ready"

    return app


def main(port: int) -> None:
    """Serve until told to stop, with the log and the server that the service has."""
    configure_logging("json", "info")
    disable_created_metrics()
    serve(create_bare_app(), port)


if __name__ == "__main__":
    main(int(sys.argv[1]))
