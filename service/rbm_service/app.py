"""The application: the only place where the parts of the service are put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from rbm_bundle.version import package_version
from rbm_service.api import admin, classify, docs, operations, v2
from rbm_service.api.dependencies import APP_STATE, AppState
from rbm_service.api.document import complete
from rbm_service.api.v2 import repository
from rbm_service.api.v2.infer import JSON_LENGTH
from rbm_service.api.v2.infer import router as infer_router
from rbm_service.errors import BackendError, MethodNotAllowedError, NotFoundError, ServiceError
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.supervisor import supervising
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing
from rbm_service.web.body_limits import BodyBudget, BodyLimits
from rbm_service.web.error_response import error_response
from rbm_service.web.metrics_server import serving_metrics
from rbm_service.web.middleware import RequestMiddleware

if TYPE_CHECKING:
    from rbm_service.observability.tracing import Tracer

DESCRIPTION = "Classifies the nodes of a graph without the graph, by a distilled Routing-by-Memory student."
OPENAPI_URL = "/openapi.json"
EXPOSED_HEADERS = ("Server-Timing", "X-Request-ID", "Retry-After", JSON_LENGTH)


class Service(FastAPI):
    """FastAPI behind `RequestMiddleware`, with a complete OpenAPI document."""

    request_middleware: ASGIApp
    app_state: AppState
    body_budget: BodyBudget
    on_engine_lost: Callable[[], None] = staticmethod(lambda: None)  # whoever runs a server ends it here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle whatever the server sends."""
        await self.request_middleware(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            for route in self.routes:
                if isinstance(route, APIRoute):
                    route.operation_id = route.name
            complete(super().openapi(), self.app_state.keys)
        return super().openapi()


def create_app(settings: Settings) -> Service:
    """A service with these settings; it loads its models when its lifespan begins.

    Raises:
        KeyFileError: a file of keys is not right.
        BundleError, EngineError: from the lifespan, when a model cannot be served.
        EngineLostError: from its end, when an engine failed and could not be rebuilt.
    """
    metrics, tracer = Metrics(), _tracer(settings)
    keys = KeyRing(settings.api_keys_file, settings.admin_key_file, open_docs=settings.has_open_docs)
    routers = [classify.router, operations.router, *v2.ROUTERS]
    if settings.admin_key_file is not None:
        routers += [admin.router, repository.router]
    if settings.metrics_port is None:
        routers.append(operations.metrics_router)
    has_docs = settings.docs != "off"
    if has_docs:
        routers.append(docs.router)
    routes: list[BaseRoute] = [route for router in routers for route in router.routes]
    app = Service(
        title="Routing by Memory",
        description=DESCRIPTION,
        version=package_version(),
        openapi_url=OPENAPI_URL if has_docs else None,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        routes=routes,
        exception_handlers={
            ServiceError: _on_service_error,
            HTTPException: _on_http_exception,
            Exception: _on_unforeseen_error,
        },
    )
    models = ModelRegistry(metrics)
    app.app_state = AppState(settings, metrics, keys, models, ModelManager(settings, metrics, models))
    app.request_middleware = RequestMiddleware(
        partial(FastAPI.__call__, app),
        metrics=metrics,
        keys=keys,
        routes=[*([OPENAPI_URL] if has_docs else []), *_paths(routes)],
        inference_routes=_paths([*classify.router.routes, *infer_router.routes]),
        body_limits=BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds),
        state={APP_STATE: app.app_state},
        shortcuts={("POST", "/classify"): classify.classify},
        tracer=tracer,
        root_path=settings.root_path,
    )
    if settings.allowed_origins:
        app.request_middleware = _cors(app.request_middleware, settings.allowed_origins)
    app.body_budget = BodyBudget(settings.max_buffered_bytes, settings.max_body_bytes)
    metrics.http_buffered_bytes.labels().set(lambda: app.body_budget.num_bytes)
    app.state.tracer = tracer
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Service)
    app_state = app.app_state
    with _tracing(app.state.tracer), _metrics_server(app_state):
        try:
            app_state.manager.start()
            async with _following(app_state.manager), _supervising(app):
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


def _supervising(app: Service) -> AbstractAsyncContextManager[None]:
    """Recover from failures of the engine."""
    state = app.app_state
    seconds = state.settings.engine_timeout_seconds
    return supervising(state.models, state.manager.rebuild, seconds, app.on_engine_lost)


def _tracer(settings: Settings) -> "Tracer | None":
    if settings.otlp_endpoint is None:
        return None
    from rbm_service.observability.tracing import (
        Tracer,  # here, since without the extra `tracing` it cannot be imported
    )

    return Tracer(str(settings.otlp_endpoint), package_version())


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
    host, port = app_state.settings.host, app_state.settings.metrics_port
    if port is None:
        yield
        return
    with serving_metrics(app_state.metrics.registry, host, port):
        yield


def _cors(app: ASGIApp, origins: Sequence[str]) -> CORSMiddleware:
    """Let scripts of these origins read every answer, errors too; a preflight needs no key."""
    return CORSMiddleware(
        app, origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED_HEADERS
    )


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return error_response(error, request.scope)


async def _on_unforeseen_error(request: Request, error: Exception) -> Response:
    """Answer before Starlette would in its own form; the error goes on to the middleware, which logs it."""
    return error_response(BackendError(), request.scope)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own two: no such route, and not by this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowedError.status:
        problem: ServiceError = MethodNotAllowedError(
            "this route does not take the method", headers=error.headers
        )
    else:
        problem = NotFoundError("no such route")
    return error_response(problem, request.scope)


def _paths(routes: Sequence[BaseRoute]) -> list[str]:
    return [route.path for route in routes if isinstance(route, APIRoute)]
