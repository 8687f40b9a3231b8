"""The application: the only place where the parts of the service are put together."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import start_http_server
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from rbm_service.api import admin, classify, open_inference, operations
from rbm_service.api.open_inference import repository
from rbm_service.api.open_inference.schemas import components
from rbm_service.api.parts import PARTS, Parts
from rbm_service.api.schemas import extra_components
from rbm_service.api.security import declare_keys
from rbm_service.errors import MethodNotAllowedError, NotFoundError, ServiceError
from rbm_service.exchange import BodyLimits
from rbm_service.keys import KeyRing
from rbm_service.loading import rebuild_model
from rbm_service.metrics import Metrics
from rbm_service.middleware import Surroundings, problem_response
from rbm_service.models import ServedModels
from rbm_service.reload import Reloader
from rbm_service.settings import Settings
from rbm_service.supervision import supervising

if TYPE_CHECKING:
    from rbm_service.tracing import Tracer

DESCRIPTION = "Classifies the nodes of a graph without the graph, by a distilled Routing-by-Memory student."
OPENAPI_URL = "/openapi.json"
DOCS_URL = "/docs"


class Service(FastAPI):
    """FastAPI within `Surroundings`; its document knows the bodies that routes parse and raise by themselves,
    and the keys."""

    surroundings: Surroundings
    parts: Parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle whatever the server sends."""
        await self.surroundings(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"].update(extra_components() | components())
        declare_keys(document, self.parts.keys)
        return document


def create_app(settings: Settings) -> Service:
    """A service with these settings; it loads its models when its lifespan begins.

    Raises:
        KeyFileError: a file of keys is not right.
        BundleError, EngineError: from the lifespan, when a model cannot be served.
        EngineLostError: from its end, when an engine failed and could not be rebuilt.
    """
    metrics, tracer = Metrics(), _tracer(settings)
    keys = KeyRing(settings.api_keys_file, settings.admin_key_file)
    routers = [classify.router, operations.router, *open_inference.ROUTERS]
    if settings.admin_key_file is not None:
        routers += [admin.router, repository.router]
    if settings.metrics_port is None:
        routers.append(operations.metrics_router)
    routes: list[BaseRoute] = [route for router in routers for route in router.routes]
    app = Service(
        title="Routing by Memory",
        description=DESCRIPTION,
        version=_version(),
        openapi_url=OPENAPI_URL,
        docs_url=DOCS_URL,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        routes=routes,
        exception_handlers={ServiceError: _on_service_error, HTTPException: _on_http_exception},
    )
    models = ServedModels(metrics)
    app.parts = Parts(settings, metrics, keys, models, Reloader(settings, metrics, models))
    app.surroundings = Surroundings(
        partial(FastAPI.__call__, app),
        metrics=metrics,
        keys=keys,
        routes=[OPENAPI_URL, DOCS_URL, *_paths(routes)],
        inference_routes=_paths([*classify.router.routes, *open_inference.infer.router.routes]),
        body_limits=BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds),
        state={PARTS: app.parts},
        shortcuts={("POST", "/classify"): classify.classify},
        tracer=tracer,
    )
    app.state.tracer = tracer
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Service)
    parts = app.parts
    with _tracing(app.state.tracer), _metrics_server(parts):
        try:
            parts.reloader.start()
            async with _following(parts.reloader), _supervising(parts):
                yield
        finally:
            parts.models.close()
            parts.reloader.close()


@asynccontextmanager
async def _following(reloader: Reloader) -> AsyncIterator[None]:
    """Follow promotions, as often as the settings say and whenever told to."""
    following = asyncio.create_task(reloader.follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait([following])


def _supervising(parts: Parts) -> AbstractAsyncContextManager[None]:
    """Recover from failures of the engine."""
    rebuild = partial(rebuild_model, settings=parts.settings, metrics=parts.metrics)
    return supervising(parts.models, rebuild, parts.settings.engine_timeout_seconds)


def _tracer(settings: Settings) -> "Tracer | None":
    if settings.otlp_endpoint is None:
        return None
    from rbm_service.tracing import Tracer  # here, since without the extra `tracing` it cannot be imported

    return Tracer(str(settings.otlp_endpoint), _version())


@contextmanager
def _tracing(tracer: "Tracer | None") -> Iterator[None]:
    """Send the last spans when everyone is answered."""
    try:
        yield
    finally:
        if tracer is not None:
            tracer.close()


@contextmanager
def _metrics_server(parts: Parts) -> Iterator[None]:
    """/metrics on a port of its own, where that is wanted."""
    if parts.settings.metrics_port is None:
        yield
        return
    host, port = parts.settings.host, parts.settings.metrics_port
    try:
        server, thread = start_http_server(port, host, parts.metrics.registry)
    except OSError as error:
        raise OSError(f"/metrics cannot listen on {host}:{port}: {error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error, request.scope)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own two: no such route, and not by this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowedError.status:
        problem: ServiceError = MethodNotAllowedError(
            "this route does not take the method", headers=error.headers
        )
    else:
        problem = NotFoundError("no such route")
    return problem_response(problem, request.scope)


def _paths(routes: Sequence[BaseRoute]) -> list[str]:
    return [route.path for route in routes if isinstance(route, APIRoute)]


def _version() -> str:
    try:
        return version("routing-by-memory")
    except PackageNotFoundError:
        return "0+source"
