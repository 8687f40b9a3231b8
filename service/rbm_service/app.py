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

from rbm_service.api import admin, classify, operations, v2
from rbm_service.api.dependencies import APP_STATE, AppState
from rbm_service.api.openapi import declare_keys, extra_components
from rbm_service.api.v2 import repository
from rbm_service.api.v2.infer import router as infer_router
from rbm_service.api.v2.responses import components
from rbm_service.errors import MethodNotAllowedError, NotFoundError, ServiceError
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.loader import rebuild_model
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.supervisor import supervising
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing
from rbm_service.web.middleware import RequestMiddleware, problem_response
from rbm_service.web.request_context import BodyLimits

if TYPE_CHECKING:
    from rbm_service.observability.tracing import Tracer

DESCRIPTION = "Classifies the nodes of a graph without the graph, by a distilled Routing-by-Memory student."
OPENAPI_URL = "/openapi.json"
DOCS_URL = "/docs"


class Service(FastAPI):
    """FastAPI behind `RequestMiddleware`.

    Its OpenAPI document also knows the bodies that routes parse by themselves, and the keys."""

    request_middleware: RequestMiddleware
    app_state: AppState

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle whatever the server sends."""
        await self.request_middleware(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"].update(extra_components() | components())
        declare_keys(document, self.app_state.keys)
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
    routers = [classify.router, operations.router, *v2.ROUTERS]
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
    models = ModelRegistry(metrics)
    app.app_state = AppState(settings, metrics, keys, models, ModelManager(settings, metrics, models))
    app.request_middleware = RequestMiddleware(
        partial(FastAPI.__call__, app),
        metrics=metrics,
        keys=keys,
        routes=[OPENAPI_URL, DOCS_URL, *_paths(routes)],
        inference_routes=_paths([*classify.router.routes, *infer_router.routes]),
        body_limits=BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds),
        state={APP_STATE: app.app_state},
        shortcuts={("POST", "/classify"): classify.classify},
        tracer=tracer,
    )
    app.state.tracer = tracer
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Service)
    app_state = app.app_state
    with _tracing(app.state.tracer), _metrics_server(app_state):
        try:
            app_state.manager.start()
            async with _following(app_state.manager), _supervising(app_state):
                yield
        finally:
            app_state.models.close()
            app_state.manager.close()


@asynccontextmanager
async def _following(manager: ModelManager) -> AsyncIterator[None]:
    """Follow promotions, as often as the settings say and whenever told to."""
    following = asyncio.create_task(manager.poll_loop())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait([following])


def _supervising(app_state: AppState) -> AbstractAsyncContextManager[None]:
    """Recover from failures of the engine."""
    rebuild = partial(rebuild_model, settings=app_state.settings, metrics=app_state.metrics)
    return supervising(app_state.models, rebuild, app_state.settings.engine_timeout_seconds)


def _tracer(settings: Settings) -> "Tracer | None":
    if settings.otlp_endpoint is None:
        return None
    from rbm_service.observability.tracing import (
        Tracer,  # here, since without the extra `tracing` it cannot be imported
    )

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
def _metrics_server(app_state: AppState) -> Iterator[None]:
    """/metrics on a port of its own, where that is wanted."""
    if app_state.settings.metrics_port is None:
        yield
        return
    host, port = app_state.settings.host, app_state.settings.metrics_port
    try:
        server, thread = start_http_server(port, host, app_state.metrics.registry)
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
